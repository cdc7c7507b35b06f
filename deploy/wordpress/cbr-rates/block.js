/* The block's controls and its preview, which the server renders. Title, attributes and controls come from PHP. */
( function ( wp, controls ) {
	const el = wp.element.createElement;
	const { Disabled, FormTokenField, PanelBody, SelectControl, TextControl } = wp.components;

	function control( name, attributes, setAttributes ) {
		const { label, options, suggestions, own } = controls[ name ];
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
		if ( ! options ) {
			return el( TextControl, common );
		}
		// The last option is a value of the author's own, which has a field below.
		const last = options[ options.length - 1 ];
		const isOwn = own && ! options.slice( 0, -1 ).some( ( option ) => option.value === value );
		const select = el( SelectControl, { ...common, value: isOwn ? last.value : value, options } );
		const field = { ...common, key: name + '-own', label: last.label, type: own };
		return isOwn ? [ select, el( TextControl, field ) ] : select;
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
