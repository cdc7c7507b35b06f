<?php
/**
 * Rows as HTML. The service writes them as it does for its own loader: a node is a text, or a list of a tag, of attributes
 * and their values in turn, and of the nodes inside.
 *
 * @package cbr-rates
 */

defined( 'ABSPATH' ) || exit;

// Parts of tables and drawings stand in these only, and nothing else does. Elsewhere a browser would end a table around.
const CBR_RATES_PLACES = array(
	'caption'  => array( 'table' ),
	'thead'    => array( 'table' ),
	'tbody'    => array( 'table' ),
	'tr'       => array( 'thead', 'tbody' ),
	'th'       => array( 'tr' ),
	'td'       => array( 'tr' ),
	'polyline' => array( 'svg' ),
);
const CBR_RATES_TAGS   = array( 'a', 'bdi', 'cbr-converter', 'div', 'p', 'strong', 'svg', 'table', 'time' );

// Attributes and their values. Others are left out.
const CBR_RATES_ATTRIBUTES = array(
	'aria-hidden' => '/^true$/',
	'aria-label'  => '/^.{1,500}$/su',
	'class'       => '/^cbr-[a-z0-9-]+( cbr-[a-z0-9-]+)*$/',
	'datetime'    => '/^\d{4}-\d\d-\d\d$/',
	'dir'         => '/^(ltr|rtl)$/',
	'href'        => '~^https?://[^\s<>"]{1,1000}$~iu',
	'lang'        => '/^[A-Za-z0-9-]{1,35}$/',
	'points'      => '/^[0-9., ]{1,500}$/',
	'role'        => '/^img$/',
	'scope'       => '/^(col|row)$/',
	'target'      => '/^_(blank|top)$/',
	'title'       => '/^.{1,500}$/su',
	'viewbox'     => '/^[0-9 ]{1,40}$/',
);

/**
 * A node as HTML, with everything escaped. A tag that rows do not have becomes a span, as in the loader.
 *
 * @param mixed  $node   What the service wrote.
 * @param string $inside The tag around it.
 * @throws UnexpectedValueException If it is no node, or stands where it must not.
 */
function cbr_rates_node( $node, $inside = 'div' ) {
	$is_text = is_string( $node );
	if ( ! $is_text && ! ( is_array( $node ) && isset( $node[0], $node[1] ) && is_string( $node[0] ) && is_array( $node[1] ) ) ) {
		throw new UnexpectedValueException();
	}
	$tag   = $is_text ? '' : $node[0];
	$place = isset( CBR_RATES_PLACES[ $tag ] ) ? CBR_RATES_PLACES[ $tag ] : null;
	if ( $place ? ! in_array( $inside, $place, true ) : in_array( $inside, array( 'table', 'thead', 'tbody', 'tr', 'svg' ), true ) ) {
		throw new UnexpectedValueException();
	}
	if ( $is_text ) {
		return htmlspecialchars( $node, ENT_QUOTES, 'UTF-8' );
	}
	$tag   = $place || in_array( $tag, CBR_RATES_TAGS, true ) ? $tag : 'span';
	$inner = '';
	foreach ( array_slice( $node, 2 ) as $one ) {
		$inner .= cbr_rates_node( $one, $tag );
	}
	return "<$tag" . cbr_rates_attributes( $node[1], $tag ) . ">$inner</$tag>";
}

/**
 * The attributes that an element of rows may have, each with a blank before it.
 *
 * @param array  $pairs Names and values in turn.
 * @param string $tag   The element's tag.
 */
function cbr_rates_attributes( array $pairs, $tag ) {
	$text = '';
	foreach ( array_chunk( $pairs, 2 ) as $pair ) {
		$name  = isset( $pair[1] ) && is_string( $pair[0] ) && is_string( $pair[1] ) ? strtolower( $pair[0] ) : '';
		$is_ok = isset( CBR_RATES_ATTRIBUTES[ $name ] ) ? preg_match( CBR_RATES_ATTRIBUTES[ $name ], $pair[1] )
			: 'data' === $name && 'cbr-converter' === $tag && cbr_rates_can_convert( json_decode( $pair[1], true, 8 ) );
		if ( $is_ok ) {
			$text .= " $name=\"" . htmlspecialchars( $pair[1], ENT_QUOTES, 'UTF-8' ) . '"';
		}
	}
	return $text;
}

/**
 * The rule for a ground of the author's own, which ends an answer's style, as HTML: colours and nothing else.
 *
 * @param string $style All rules of the answer.
 */
function cbr_rates_ground( $style ) {
	$hex  = '#[0-9a-f]{6}';
	$rule = "color:$hex;background:$hex;color-scheme:(?:dark|light);--cbr-up:$hex;--cbr-down:$hex";
	return preg_match( "/\\.cbr-own\\.cbr-own-[0-9a-f]{6}\\{{$rule}\\}$/D", $style, $found ) ? "<style>$found[0]</style>" : '';
}

/**
 * Whether these are the rates of a converter: for each code a rate, of how many units, and decimals of an amount, then
 * its signs. A browser calculates with them, so they must be as short as they look.
 *
 * @param mixed $data A decoded text.
 */
function cbr_rates_can_convert( $data ) {
	if ( ! is_array( $data ) || ! isset( $data['rates'], $data['group'], $data['mark'] ) || ! is_array( $data['rates'] ) ) {
		return false;
	}
	foreach ( $data['rates'] as $code => $rate ) {
		$text = "$code " . wp_json_encode( array_slice( (array) $rate, 0, 3 ) );
		if ( ! preg_match( '/^[A-Z]{3} \["\d{1,15}(\.\d{1,8})?",\d{1,6},\d\]$/', $text ) ) {
			return false;
		}
	}
	foreach ( array( $data['group'], $data['mark'] ) as $sign ) {
		if ( ! is_string( $sign ) || ! preg_match( '/^.?$/su', $sign ) ) {
			return false;
		}
	}
	return true;
}
