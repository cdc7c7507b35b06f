<?php
/**
 * Asks the service for rows, believes nothing that it answers, and keeps the last good rows for the time when it is down.
 *
 * @package cbr-rates
 */

defined( 'ABSPATH' ) || exit;

const CBR_RATES_TIMEOUT_S = 1;     // For readers.
const CBR_RATES_LARGEST   = 65536; // Bytes of an answer. Twenty currencies with a converter are a third of that.
const CBR_RATES_PAUSE_S   = 60;    // So long after a failure nobody waits for the service.

/**
 * The rows for these parameters of /widget/nodes.json as HTML, or an empty string if there are none.
 *
 * How long rows last, and how long while the service is down, is in its Cache-Control: until midnight in Moscow at most.
 *
 * @param array $query Parameter => value.
 */
function cbr_rates_rows( array $query ) {
	$address = get_option( 'cbr_rates_url', '' );
	$name    = 'cbr_rates_' . md5( $address . wp_json_encode( $query ) );
	$now     = time();
	$kept    = get_transient( $name );
	$kept    = is_array( $kept ) ? $kept : array( 'rows' => '', 'ask_at' => 0, 'end' => 0 );
	if ( $now >= $kept['ask_at'] && '' !== $address && ! get_transient( 'cbr_rates_pause' ) ) {
		// Whoever comes while this request waits does not wait, too. A choice that the service refuses waits as long.
		$kept['ask_at'] = $now + CBR_RATES_PAUSE_S;
		set_transient( $name, $kept, WEEK_IN_SECONDS );
		$answer = cbr_rates_ask( $address, $query );
		if ( ! is_wp_error( $answer ) ) {
			$kept = $answer;
			set_transient( $name, $kept, WEEK_IN_SECONDS );
		} elseif ( 'down' === $answer->get_error_code() ) {
			set_transient( 'cbr_rates_pause', 1, CBR_RATES_PAUSE_S );
		}
	}
	return $now <= $kept['end'] ? $kept['rows'] : '';
}

/**
 * Rows from the service as HTML, when to ask for them again, and the end of their time. Otherwise a WP_Error; its code is
 * `down` if the service would answer nobody else, either.
 *
 * @param string $address The service's address.
 * @param array  $query   Parameter => value.
 * @param int    $timeout For how many seconds to wait.
 */
function cbr_rates_ask( $address, array $query, $timeout = CBR_RATES_TIMEOUT_S ) {
	if ( ! function_exists( 'curl_init' ) ) { // Without it WordPress limits each read, and so a slow answer has no end.
		return new WP_Error( 'down', __( 'PHP needs its extension curl for this.', 'cbr-rates' ) );
	}
	$answer = wp_remote_get(
		$address . '/widget/nodes.json?' . http_build_query( $query ),
		array(
			'timeout'             => $timeout,
			'redirection'         => 0,
			'limit_response_size' => CBR_RATES_LARGEST + 1,
			'decompress'          => false, // What cURL unpacks is counted, what WordPress unpacks is not.
		)
	);
	if ( is_wp_error( $answer ) ) {
		return new WP_Error( 'down', $answer->get_error_message() );
	}
	$status = wp_remote_retrieve_response_code( $answer );
	$type   = (string) wp_remote_retrieve_header( $answer, 'content-type' );
	if ( 200 !== $status || 0 !== strpos( $type, 'application/json' ) ) {
		/* translators: 1: status of HTTP, 2: type of the document */
		$told = sprintf( __( 'It answered %1$d, %2$s.', 'cbr-rates' ), $status, $type );
		return new WP_Error( $status >= 500 ? 'down' : 'refused', $told );
	}
	$body = wp_remote_retrieve_body( $answer );
	$rows = strlen( $body ) > CBR_RATES_LARGEST ? null : json_decode( $body, true, 20 );
	try {
		$rule = isset( $rows['style'] ) && is_string( $rows['style'] ) ? cbr_rates_ground( $rows['style'] ) : '';
		$rows = $rule . cbr_rates_node( isset( $rows['content'] ) && is_array( $rows['content'] ) ? $rows['content'] : null );
	} catch ( UnexpectedValueException $wrong ) {
		return new WP_Error( 'refused', __( 'Its answer is not rows of rates.', 'cbr-rates' ) );
	}
	// A cache on the way may have held the answer for a while.
	$now = time();
	$end = $now - max( 0, (int) wp_remote_retrieve_header( $answer, 'age' ) ) + cbr_rates_seconds( $answer, 'max-age' );
	return array(
		'rows'   => $rows,
		'ask_at' => max( $now + 1, min( $end, $now + HOUR_IN_SECONDS ) ),
		'end'    => min( $end + cbr_rates_seconds( $answer, 'stale-if-error' ), $now + WEEK_IN_SECONDS ),
	);
}

/**
 * A number of seconds in the answer's Cache-Control, or 0.
 *
 * @param array  $answer Of wp_remote_get.
 * @param string $name   Which number.
 */
function cbr_rates_seconds( array $answer, $name ) {
	preg_match( "/(?:^|[ ,])$name=(\\d{1,9})/", (string) wp_remote_retrieve_header( $answer, 'cache-control' ), $found );
	return $found ? (int) $found[1] : 0;
}
