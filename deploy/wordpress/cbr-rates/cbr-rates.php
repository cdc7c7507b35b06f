<?php
/**
 * Plugin Name: CBR Rates
 * Description: The Bank of Russia's official exchange rates in your pages, rendered on your server by a ratesvc of yours.
 * Version: 1.0.0
 * Requires at least: 6.4
 * Requires PHP: 7.4
 * Author: The ratesvc project
 * License: MIT
 * License URI: https://opensource.org/license/mit
 * Text Domain: cbr-rates
 * Domain Path: /languages
 *
 * MIT is compatible with the GPL of WordPress.
 *
 * @package cbr-rates
 */

defined( 'ABSPATH' ) || exit;

require __DIR__ . '/rows.php';
require __DIR__ . '/nodes.php';
require __DIR__ . '/settings.php';

// What a link to the Bank says where there are no rows, by the language of the rows and by their layout.
const CBR_RATES_WORDS = array(
	'en' => array(
		''       => 'Bank of Russia exchange rates',
		'line'   => 'Bank of Russia rates',
		'inline' => 'the Bank of Russia rate',
	),
	'ru' => array(
		''       => 'Официальные курсы валют Банка России',
		'line'   => 'Курсы Банка России',
		'inline' => 'по курсу Банка России',
	),
);

add_action( 'init', 'cbr_rates_init' );
add_action( 'enqueue_block_assets', 'cbr_rates_in_the_editor' );

/**
 * Registers the shortcode, the block and their files. The block's title and attributes come from here, its controls too.
 */
function cbr_rates_init() {
	load_textdomain( 'cbr-rates', __DIR__ . '/languages/cbr-rates-' . determine_locale() . '.mo' );
	$version = get_file_data( __FILE__, array( 'Version' ) )[0];
	$needed  = array( 'wp-blocks', 'wp-block-editor', 'wp-components', 'wp-element', 'wp-server-side-render' );
	wp_register_style( 'cbr-rates', plugins_url( 'widget.css', __FILE__ ), array(), $version );
	wp_register_script( 'cbr-rates-converter', plugins_url( 'converter.js', __FILE__ ), array(), $version, true );
	wp_register_script( 'cbr-rates-block', plugins_url( 'block.js', __FILE__ ), $needed, $version, true );
	$controls = wp_json_encode( cbr_rates_choices(), JSON_HEX_TAG );
	wp_add_inline_script( 'cbr-rates-block', "window.cbrRatesControls = $controls;", 'before' );
	add_shortcode( 'cbr_rates', 'cbr_rates_html' );
	register_block_type(
		'cbr-rates/rates',
		array(
			'api_version'           => 3,
			'title'                 => __( 'Bank of Russia rates', 'cbr-rates' ),
			'description'           => __( 'Official exchange rates, rendered on your server.', 'cbr-rates' ),
			'category'              => 'widgets',
			'icon'                  => 'money-alt',
			'supports'              => array( 'html' => false, 'align' => true ),
			'attributes'            => array_fill_keys(
				array_keys( cbr_rates_choices() ),
				array( 'type' => 'string', 'default' => '' )
			),
			'style_handles'         => array( 'cbr-rates' ),
			'editor_script_handles' => array( 'cbr-rates-block' ),
			'render_callback'       => 'cbr_rates_block',
		)
	);
}

/**
 * The editor's preview of a converter needs its script, which pages load only with a converter.
 */
function cbr_rates_in_the_editor() {
	if ( is_admin() ) {
		wp_enqueue_script( 'cbr-rates-converter' );
	}
}

/**
 * What an author may choose: parameter of the widget => label of its control, and options or suggestions if there are any.
 * The service drops every value that it does not know.
 */
function cbr_rates_choices() {
	$select = function ( $label, array $texts ) {
		$options = array();
		foreach ( $texts as $value => $text ) { // PHP makes whole numbers of keys such as 7.
			$options[] = array( 'value' => (string) $value, 'label' => $text );
		}
		return array( 'label' => $label, 'options' => $options );
	};
	$words  = function ( $label, array $suggestions ) {
		return array( 'label' => $label, 'suggestions' => $suggestions );
	};
	$text   = function ( $label ) {
		return array( 'label' => $label );
	};
	// One more option, with a field of this type for a value of the author's own, which begins as $value.
	$own    = function ( $label, $type, $value, array $select ) {
		$select['options'][] = array( 'value' => $value, 'label' => $label );
		return $select + array( 'own' => $type );
	};
	$no     = __( 'No', 'cbr-rates' );
	$yes    = __( 'Yes', 'cbr-rates' );
	$switch = array( '' => __( 'As usual', 'cbr-rates' ), '1' => $yes, '0' => $no );
	return array(
		'layout'    => $select(
			__( 'Layout', 'cbr-rates' ),
			array(
				''          => __( 'Table', 'cbr-rates' ),
				'line'      => __( 'One line', 'cbr-rates' ),
				'bar'       => __( 'Bar', 'cbr-rates' ),
				'inline'    => __( 'One rate in a sentence', 'cbr-rates' ),
				'converter' => __( 'Converter', 'cbr-rates' ),
			)
		),
		'codes'     => $words( __( 'Currencies', 'cbr-rates' ), array( 'USD', 'EUR', 'CNY', 'GBP', 'JPY', 'TRY', 'KZT', 'BYN', 'XAU' ) ),
		'columns'   => $words( __( 'Columns', 'cbr-rates' ), array( 'name', 'today', 'next', 'change', 'percent' ) ),
		'heading'   => $own(
			__( 'Own words', 'cbr-rates' ),
			'text',
			__( 'Exchange rates', 'cbr-rates' ),
			$select(
				__( 'Heading', 'cbr-rates' ),
				array( '' => __( 'Full', 'cbr-rates' ), 'short' => __( 'Short', 'cbr-rates' ), 'none' => $no )
			)
		),
		'head'      => $select( __( 'Heads of the columns', 'cbr-rates' ), array( '' => $yes, '0' => $no ) ),
		'spark'     => $select(
			__( 'Trend line', 'cbr-rates' ),
			array( '' => $no, '7' => __( '7 days', 'cbr-rates' ), '30' => __( '30 days', 'cbr-rates' ) )
		),
		'converter' => $select( __( 'Converter', 'cbr-rates' ), array( '' => $no, '1' => $yes ) ),
		'key_rate'  => $select( __( 'Key rate', 'cbr-rates' ), array( '' => $no, '1' => $yes ) ),
		'decimals'  => $select( __( 'Decimals', 'cbr-rates' ), array( '' => $switch[''], '2' => '2', '4' => '4' ) ),
		'unit'      => $select( __( 'For one unit', 'cbr-rates' ), $switch ),
		'symbols'   => $select( __( 'Symbols such as $ and €', 'cbr-rates' ), $switch ),
		'pending'   => $select( __( 'When to expect tomorrow’s rates', 'cbr-rates' ), array( '' => $no, '1' => $yes ) ),
		'theme'     => $own(
			__( 'Own colour', 'cbr-rates' ),
			'color',
			'#0b5cad',
			$select(
				__( 'Background', 'cbr-rates' ),
				array(
					''      => __( 'Same as the page', 'cbr-rates' ),
					'light' => __( 'Light', 'cbr-rates' ),
					'dark'  => __( 'Dark', 'cbr-rates' ),
					'auto'  => __( 'Same as the device', 'cbr-rates' ),
				)
			)
		),
		'updown'    => $select(
			__( 'Up and down', 'cbr-rates' ),
			array(
				''            => __( 'Green, red', 'cbr-rates' ),
				'red-green'   => __( 'Red, green', 'cbr-rates' ),
				'blue-orange' => __( 'Blue, orange', 'cbr-rates' ),
				'none'        => __( 'No colours', 'cbr-rates' ),
			)
		),
		'href'      => $text( __( 'Link to your own page', 'cbr-rates' ) ),
		'date'      => $text( __( 'Day, such as 2024-03-02, instead of today', 'cbr-rates' ) ),
		'lang'      => $text( __( 'Language, such as ru, instead of the site’s', 'cbr-rates' ) ),
	);
}

/**
 * The block: the same as the shortcode, in an element that carries the block's alignment.
 *
 * @param array $given The block's attributes.
 */
function cbr_rates_block( $given ) {
	return '<div ' . get_block_wrapper_attributes() . '>' . cbr_rates_html( $given ) . '</div>';
}

/**
 * The shortcode. Without rows it is a link to the Bank's own page, never an error.
 *
 * @param array|string $given Its attributes. WordPress gives an empty string for none.
 */
function cbr_rates_html( $given ) {
	$given  = array_map( 'strval', array_filter( (array) $given, 'is_scalar' ) );
	$given += isset( $given['code'] ) ? array( 'codes' => $given['code'] ) : array();
	$chosen = array_filter( array_intersect_key( $given, cbr_rates_choices() ), 'strlen' );
	$chosen = $chosen + array( 'lang' => str_replace( '_', '-', determine_locale() ) );
	$rows   = cbr_rates_rows( $chosen );
	if ( '' === $rows ) {
		$layout = isset( $chosen['layout'] ) ? $chosen['layout'] : '';
		$words  = CBR_RATES_WORDS[ preg_match( '/^ru\b/i', $chosen['lang'] ) ? 'ru' : 'en' ];
		$words  = isset( $words[ $layout ] ) ? $words[ $layout ] : $words[''];
		$is_text = in_array( $layout, array( 'line', 'inline' ), true );
		$card    = $is_text ? '' : ' style="display:grid;place-content:center;min-height:inherit;text-align:center;background:#8881;color:inherit"';
		return "<a href=\"https://www.cbr.ru/currency_base/daily/\"$card>" . esc_html( $words ) . '</a>';
	}
	wp_enqueue_style( 'cbr-rates' );
	if ( strpos( $rows, '<cbr-converter' ) ) {
		wp_enqueue_script( 'cbr-rates-converter' );
	}
	return $rows;
}
