/* The block's controls and its preview, which the server renders. Title, attributes and controls come from PHP. */
( function ( wp, controls ) {
	const el = wp.element.createElement;
	const { Disabled, FormTokenField, PanelBody, SelectControl, TextControl } = wp.components;

	function control( name, attributes, setAttributes ) {
		const { label, options, suggestions } = controls[ name ];
		const value = attributes[ name ];
		const onChange = ( text ) => setAttributes( { [ name ]: text } );
		const common = { key: name, label, value, onChange, __nextHasNoMarginBottom: true, __next40pxDefaultSize: true };
		if ( suggestions ) {
			const field = el( FormTokenField, {
				...common,
				suggestions,
				value: value.split( ',' ).filter( Boolean ),
				onChange: ( words ) => onChange( words.join( ',' ) ),
				__experimentalExpandOnFocus: true,
				__experimentalShowHowTo: false,
			} );
			return el( 'div', { key: name, className: 'components-base-control' }, field );
		}
		return el( options ? SelectControl : TextControl, { ...common, options } );
	}

	wp.blocks.registerBlockType( 'cbr-rates/rates', {
		edit: ( { attributes, setAttributes } ) =>
			el(
				'div',
				wp.blockEditor.useBlockProps(),
				el(
					wp.blockEditor.InspectorControls,
					{},
					el( PanelBody, {}, Object.keys( controls ).map( ( name ) => control( name, attributes, setAttributes ) ) )
				),
				el( Disabled, {}, el( wp.serverSideRender, { block: 'cbr-rates/rates', attributes } ) )
			),
		save: () => null,
	} );
} )( window.wp, window.cbrRatesControls );
