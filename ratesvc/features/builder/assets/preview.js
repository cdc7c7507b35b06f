// The page of a preview: it writes the code that the builder around it gives into itself, while it is parsed, so the code
// runs as in a host's page. Only a page of the same origin can be seen as parent; elsewhere, and in a window of its own,
// nothing runs.
(() => {
  const { code, ground } = frameElement?.dataset || {};
  if (!code) return;
  document.documentElement.className = ground;
  document.write(code);
})();
