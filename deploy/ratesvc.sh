#!/bin/sh
# A command of ratesvc beside the systemd unit: as its user, with its settings and its data, from whatever folder you are in.
# Run as root:   ratesvc quarantine list
# Install:       install -m 755 ratesvc.sh /usr/local/bin/ratesvc
exec systemd-run --quiet --collect --wait --pipe \
  --property=User=ratesvc --property=WorkingDirectory=/var/lib/ratesvc \
  --property=Environment=RATESVC_DATA_DIR=/var/lib/ratesvc --property=EnvironmentFile=-/etc/ratesvc/environment \
  -- /opt/ratesvc/bin/ratesvc "$@"
