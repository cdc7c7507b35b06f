"""The widget: rates in other pages, as an element, a frame, HTML, a picture or rows."""
