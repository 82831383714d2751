/** Shown in place of the page if the whole page could not be rendered. */
export function BrokenPage() {
  return (
    <main className="key-form">
      <div role="alert">
        <h1>This page has stopped working</h1>
        <p>What you asked is still kept as it was. Reload the page; if that brings you back here, begin a new chat.</p>
        <div className="choices">
          <button type="button" className="button primary" onClick={() => location.reload()}>
            Reload
          </button>
          <button
            type="button"
            className="button"
            onClick={() => {
              history.replaceState(null, '', location.pathname + location.search);
              location.reload();
            }}
          >
            New chat
          </button>
        </div>
      </div>
    </main>
  );
}
