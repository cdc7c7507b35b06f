"""What all pages share: templates, styles, policies, PNG, the icon, /robots.txt and the page of other addresses."""
