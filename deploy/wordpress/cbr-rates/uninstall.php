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
	// With a cache of objects they are not in the database. There they end by themselves, within a week.
	foreach ( $wpdb->get_col( "SELECT option_name FROM $wpdb->options WHERE option_name LIKE '\_transient\_cbr\_rates\_%'" ) as $name ) { // phpcs:ignore WordPress.DB
		delete_transient( substr( $name, strlen( '_transient_' ) ) );
	}
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
