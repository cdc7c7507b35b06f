"""The widget: the table of rates in every form that a page can embed, and the page that makes its code."""
