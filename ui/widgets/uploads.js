// Why a file that was chosen did not arrive. Runs in the page, as a component: the server never hears of such a file.
const isConnected = () =>
  document.querySelector("[data-testid=stApp]")?.getAttribute("data-test-connection-state") === "CONNECTED";

export default function ({ data, parentElement }) {
  const region = parentElement.querySelector("[role=alert]");
  const say = (said) => (region.textContent = said);

  const uploads = new PerformanceObserver((list) => {
    for (const { name, responseStatus } of list.getEntries()) {
      if (!name.includes("/_stcore/upload_file/") || responseStatus === undefined) continue; // an older browser doesn't tell
      const isThere = 200 <= responseStatus && responseStatus < 300;
      say(isThere ? "" : (data.failures[responseStatus] ?? data.otherwise));
    }
  });
  const chosen = (event) => {
    if (event.target.type === "file" && !isConnected()) say(data.away); // the widget, disabled now, lets it go in silence
  };
  const dropped = (event) => {
    if (event.dataTransfer?.files.length && !isConnected()) say(data.away);
  };

  region.stop?.();
  uploads.observe({ type: "resource" });
  document.addEventListener("change", chosen, true);
  document.addEventListener("drop", dropped, true);
  region.stop = () => {
    uploads.disconnect();
    document.removeEventListener("change", chosen, true);
    document.removeEventListener("drop", dropped, true);
  };
  return () => region.stop?.();
}
