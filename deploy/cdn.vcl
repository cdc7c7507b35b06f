# A CDN in front of two regions, in Varnish. docs/deploying.md says the same for other CDNs. Write the host and port of each
# region's proxy instead of 192.0.2.1 and 192.0.2.2. HAProxy there counts readers if its list of proxies names this machine.
vcl 4.1;

import directors;
import std;

probe ready {
    .url = "/readyz";
    .interval = 2s;
    .timeout = 2s;
    .window = 3;
    .threshold = 2;
}

backend near {
    .host = "192.0.2.1";
    .port = "8080";
    .connect_timeout = 1s;
    # Ten long series or pictures at once take six seconds.
    .first_byte_timeout = 10s;
    .probe = ready;
}

backend far {
    .host = "192.0.2.2";
    .port = "8080";
    .connect_timeout = 1s;
    .first_byte_timeout = 10s;
    .probe = ready;
}

sub vcl_init {
    new origin = directors.fallback();
    origin.add_backend(near);
    origin.add_backend(far);
}

sub vcl_recv {
    set req.backend_hint = origin.backend();
    # The service has no cookies. With those of a site every reader would have a copy of his own.
    unset req.http.Cookie;
    # A copy that ran out is renewed, and shown meanwhile for ten seconds at most, but longer while nobody answers.
    if (req.restarts == 0 && std.healthy(req.backend_hint)) {
        set req.grace = 10s;
    }
    if (req.url ~ "^/v1/events") {
        return (pass);
    }
}

# The key is the whole address with its query, and nothing else but Accept-Encoding, by Vary.
sub vcl_hash {
    hash_data(req.url);
    return (lookup);
}

sub vcl_backend_fetch {
    if (bereq.retries > 0) {
        set bereq.backend = far;
    }
}

sub vcl_backend_response {
    if (beresp.status >= 502 && bereq.retries == 0) {
        return (retry);
    }
    # The service says how long a copy may be shown while nobody answers: until midnight in Moscow at most.
    set beresp.grace = std.duration(regsub(beresp.http.Cache-Control, "^.*stale-if-error=([0-9]+).*$", "\1s"), 0s);
}

sub vcl_backend_error {
    if (bereq.retries == 0) {
        return (retry);
    }
}

# Neither region answers, and the probes have not noticed yet: take the copy that ran out.
sub vcl_deliver {
    if (resp.status >= 502 && req.restarts == 0) {
        return (restart);
    }
}
