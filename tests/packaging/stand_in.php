<?php
// What the plugin calls of WordPress, as little as it needs. argv: the plugin's folder, and a file of questions as JSON.
define( 'ABSPATH', '/' );
const HOUR_IN_SECONDS = 3600, WEEK_IN_SECONDS = 604800;
if ( ! function_exists( 'curl_init' ) ) {
	function curl_init() {}
}
class WP_Error {
	public function __construct( public $code, public $text ) {}
	public function get_error_code() { return $this->code; }
	public function get_error_message() { return $this->text; }
}
$kept = $left = $asked = $queued = $hooks = $lasting = $told = array();
$answer = null;
$address = 'http://rates.example';
function is_wp_error( $one ) { return $one instanceof WP_Error; }
function add_action( $name, $call ) { $GLOBALS['hooks'][ $name ] = $call; }
function add_filter( $name, $call ) { $GLOBALS['hooks'][ $name ] = $call; }
foreach ( array( 'load_textdomain', 'wp_register_style', 'wp_register_script', 'wp_add_inline_script', 'add_shortcode', 'register_block_type',
	'register_setting', 'add_options_page', 'add_settings_error', 'delete_option', 'switch_to_blog', 'restore_current_blog' ) as $name ) {
	eval( "function $name( ...\$all ) { \$GLOBALS['told'][] = array_merge( array( '$name' ), \$all ); }" );
}
function get_option( $name, $else = false ) { return 'cbr_rates_url' === $name ? $GLOBALS['address'] : $else; }
function get_transient( $name ) { return $GLOBALS['kept'][ $name ] ?? false; }
function set_transient( $name, $value, $seconds ) { $GLOBALS['kept'][ $name ] = $value; $GLOBALS['lasting'][ $name ] = $seconds; }
function delete_transient( $name ) { $GLOBALS['told'][] = array( 'delete_transient', $name ); unset( $GLOBALS['kept'][ $name ] ); }
function get_file_data( $file, $names ) { return array( basename( $file ) . "'s " . $names[0] ); }
function plugins_url( $name, $file ) { return "plugins/$name"; }
function admin_url( $path ) { return "admin/$path"; }
function esc_url( $url ) { return esc_html( $url ); }
function is_admin() { return $GLOBALS['is_admin']; }
function is_multisite() { return (bool) $GLOBALS['sites']; }
function get_sites( $given ) { return $given === array( 'fields' => 'ids', 'number' => 0 ) ? $GLOBALS['sites'] : array(); }
class Database {
	public $options = 'wp_options';
	public function get_col( $query ) { // LIKE of SQL: a backslash takes the next letter as it is.
		preg_match( "/^SELECT option_name FROM wp_options WHERE option_name LIKE '(.*)%'$/", $query, $found );
		$begin = str_replace( '\\', '', $found[1] );
		return array_filter( array( '_transient_cbr_rates_1', '_transient_other', 'cbr_rates_2' ), fn( $name ) => 0 === strpos( $name, $begin ) );
	}
}
$wpdb = new Database();
$is_admin = true;
$sites = array();
function wp_remote_get( $url, $options ) {
	$GLOBALS['asked'][] = array( $url, $options );
	return null === $GLOBALS['answer'] ? new WP_Error( 'http_request_failed', 'no answer' ) : $GLOBALS['answer'];
}
function wp_remote_retrieve_response_code( $answer ) { return $answer['status']; }
function wp_remote_retrieve_header( $answer, $name ) { return $answer['headers'][ $name ] ?? ''; }
function wp_remote_retrieve_body( $answer ) { return $answer['body']; }
function wp_json_encode( $value, $options = 0 ) { return json_encode( $value, $options ); }
function wp_parse_url( $url ) { return parse_url( $url ); }
function esc_url_raw( $url, $schemes ) { return in_array( parse_url( $url, PHP_URL_SCHEME ), $schemes, true ) ? $url : ''; }
function determine_locale() { return 'en_US'; }
function esc_html( $text ) { return htmlspecialchars( $text, ENT_QUOTES ); }
function __( $text, $domain ) { return $text; }
function get_block_wrapper_attributes() { return 'class="wp-block-cbr-rates"'; }
function wp_enqueue_style( $name ) { $GLOBALS['queued'][] = "style $name"; }
function wp_enqueue_script( $name ) { $GLOBALS['queued'][] = "script $name"; }

function settings_fields( $group ) { echo $group; }
function submit_button() { echo '[Save]'; }
function esc_html__( $text, $domain ) { return esc_html( $text ); }
function esc_html_e( $text, $domain ) { echo esc_html( $text ); }
function esc_attr( $text ) { return esc_html( $text ); }
function number_format_i18n( $number, $places = 0 ) { return number_format( $number, $places ); }
function wp_admin_notice( $text, $options ) { echo "[$options[type]] $text"; }

require "$argv[1]/cbr-rates.php";

$said = array();
foreach ( json_decode( file_get_contents( $argv[2] ), true ) as $one ) {
	if ( isset( $one['settings'] ) ) {
		list( $answer, $address, $queued ) = array( $one['answer'], $one['settings'], array() );
		ob_start();
		cbr_rates_settings_page();
		$said[]  = implode( ' ', array_merge( array( ob_get_clean() ), $queued ) );
		$address = 'http://rates.example';
		continue;
	}
	if ( isset( $one['calls'] ) ) {
		list( $told, $queued, $is_admin, $sites ) = array( array(), array(), empty( $one['reader'] ), $one['sites'] ?? array() );
		if ( 'uninstall' === $one['calls'] ) {
			define( 'WP_UNINSTALL_PLUGIN', 1 );
			require "$argv[1]/uninstall.php";
		} else {
			$told[] = array( $one['calls'], $hooks[ $one['calls'] ]( array( 'others' ) ) );
		}
		$said[] = array_merge( $told, array( $queued ) );
		continue;
	}
	if ( isset( $one['address'] ) ) {
		$said[] = cbr_rates_address( $one['address'] );
		continue;
	}
	if ( empty( $one['again'] ) ) {
		$kept = array();
	}
	foreach ( $kept as $name => $value ) { // The past is so many seconds longer.
		if ( is_array( $value ) ) {
			$kept[ $name ] = array( 'ask_at' => $value['ask_at'] - $one['later'], 'end' => $value['end'] - $one['later'] ) + $value;
		}
		$lasting[ $name ] -= $one['later'];
		if ( $lasting[ $name ] < 0 ) {
			unset( $kept[ $name ] );
		}
	}
	list( $answer, $asked, $queued, $address ) = array( $one['answer'], array(), array(), $one['at'] ?? 'http://rates.example' );
	$html   = cbr_rates_html( $one['given'] );
	$lasts  = array();
	foreach ( $kept as $name => $value ) {
		if ( is_array( $value ) ) {
			$lasts = array( $value['ask_at'] - time(), $value['end'] ? $value['end'] - time() : 0 );
		}
	}
	$said[] = array(
		'html' => $html, 'block' => cbr_rates_block( $one['given'] ), 'asked' => $asked, 'queued' => $queued, 'lasts' => $lasts,
		'paused' => isset( $kept['cbr_rates_pause'] ) ? $lasting['cbr_rates_pause'] : 0,
	);
}
echo json_encode( array( 'said' => $said, 'hooks' => array_keys( $hooks ) ) );
