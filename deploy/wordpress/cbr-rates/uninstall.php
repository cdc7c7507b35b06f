<?php
/**
 * Leaves nothing behind: neither the setting nor the rows that were kept.
 *
 * @package cbr-rates
 */

defined( 'WP_UNINSTALL_PLUGIN' ) || exit;

/**
 * On one site.
 */
function cbr_rates_forget() {
	global $wpdb;
	delete_option( 'cbr_rates_url' );
	$wpdb->query( "DELETE FROM $wpdb->options WHERE option_name LIKE '\_transient\_%cbr\_rates\_%'" ); // phpcs:ignore WordPress.DB
	wp_cache_flush();
}

if ( is_multisite() ) {
	foreach ( get_sites( array( 'fields' => 'ids', 'number' => 0 ) ) as $site ) {
		switch_to_blog( $site );
		cbr_rates_forget();
		restore_current_blog();
	}
} else {
	cbr_rates_forget();
}
