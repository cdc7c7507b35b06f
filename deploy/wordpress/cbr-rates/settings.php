<?php
/**
 * Settings → CBR Rates: the address of the service, and whether it answers.
 *
 * @package cbr-rates
 */

defined( 'ABSPATH' ) || exit;

add_action( 'admin_init', 'cbr_rates_register_settings' );
add_action( 'admin_menu', 'cbr_rates_menu' );
add_filter( 'plugin_action_links_cbr-rates/cbr-rates.php', 'cbr_rates_action_links' );

/**
 * One setting.
 */
function cbr_rates_register_settings() {
	register_setting( 'cbr_rates', 'cbr_rates_url', array( 'sanitize_callback' => 'cbr_rates_address' ) );
}

/**
 * The page in the menu.
 */
function cbr_rates_menu() {
	add_options_page( 'CBR Rates', 'CBR Rates', 'manage_options', 'cbr-rates', 'cbr_rates_settings_page' );
}

/**
 * The link to it in the list of plugins.
 *
 * @param string[] $links The links that are there.
 */
function cbr_rates_action_links( $links ) {
	$page = '<a href="' . esc_url( admin_url( 'options-general.php?page=cbr-rates' ) ) . '">' . esc_html__( 'Settings', 'cbr-rates' ) . '</a>';
	return array_merge( array( $page ), $links );
}

/**
 * An address without a slash at its end, or the old one if this is none.
 *
 * @param mixed $given What was entered.
 */
function cbr_rates_address( $given ) {
	delete_transient( 'cbr_rates_pause' );
	$given   = is_string( $given ) ? trim( $given ) : '';
	$address = rtrim( esc_url_raw( $given, array( 'http', 'https' ) ), '/' );
	$parts   = wp_parse_url( $address );
	if ( '' === $given || ( ! empty( $parts['scheme'] ) && ! empty( $parts['host'] ) && ! isset( $parts['query'] ) && ! isset( $parts['fragment'] ) ) ) {
		return $address;
	}
	add_settings_error( 'cbr_rates_url', 'address', __( 'This is not an address such as https://rates.example.', 'cbr-rates' ) );
	return get_option( 'cbr_rates_url', '' );
}

/**
 * The page.
 */
function cbr_rates_settings_page() {
	$address = get_option( 'cbr_rates_url', '' );
	?>
	<div class="wrap">
		<h1>CBR Rates</h1>
		<form method="post" action="options.php">
			<?php settings_fields( 'cbr_rates' ); ?>
			<table class="form-table" role="presentation"><tr>
				<th scope="row"><label for="cbr_rates_url"><?php esc_html_e( 'Address of your ratesvc', 'cbr-rates' ); ?></label></th>
				<td>
					<input type="url" class="regular-text code" id="cbr_rates_url" name="cbr_rates_url" value="<?php echo esc_attr( $address ); ?>" placeholder="https://rates.example">
					<p class="description"><?php esc_html_e( 'Your server asks it, readers do not. An address in your own network will do.', 'cbr-rates' ); ?></p>
				</td>
			</tr></table>
			<?php submit_button(); ?>
		</form>
		<?php cbr_rates_settings_trial( $address ); ?>
		<h2><?php esc_html_e( 'In your pages', 'cbr-rates' ); ?></h2>
		<p><?php esc_html_e( 'Insert the block “Bank of Russia rates”, or write one of these shortcodes:', 'cbr-rates' ); ?></p>
		<p><code>[cbr_rates]</code></p>
		<p><code>[cbr_rates codes="USD,EUR" layout="line"]</code></p>
		<p><code>[cbr_rates code="USD" layout="inline"]</code></p>
	</div>
	<?php
}

/**
 * What the service answers now, past everything that is kept.
 *
 * @param string $address The service's address, or nothing.
 */
function cbr_rates_settings_trial( $address ) {
	if ( '' === $address ) {
		return;
	}
	$begun  = microtime( true );
	$answer = cbr_rates_ask( $address, array( 'lang' => str_replace( '_', '-', determine_locale() ) ), 10 );
	$took   = microtime( true ) - $begun;
	echo '<h2>' . esc_html__( 'What it answers', 'cbr-rates' ) . '</h2>';
	if ( is_wp_error( $answer ) ) {
		wp_admin_notice(
			esc_html__( 'No rates came.', 'cbr-rates' ) . ' ' . esc_html( $answer->get_error_message() ),
			array( 'type' => 'error', 'additional_classes' => array( 'inline' ) )
		);
		return;
	}
	if ( $took > CBR_RATES_TIMEOUT_S ) {
		/* translators: %s: a number of seconds */
		$told = sprintf( __( 'It took %s seconds. Readers wait for one, so they would see the link.', 'cbr-rates' ), number_format_i18n( $took, 1 ) );
		wp_admin_notice( esc_html( $told ), array( 'type' => 'warning', 'additional_classes' => array( 'inline' ) ) );
	}
	wp_enqueue_style( 'cbr-rates' );
	echo '<div style="max-width:40em">' . $answer['rows'] . '</div>'; // phpcs:ignore WordPress.Security.EscapeOutput -- escaped in nodes.php
}
