// Calls to the hub's API.

function showError(text) {
  const dialog = document.getElementById("error-dialog");
  dialog.querySelector(".ajax-error").textContent = text;
  dialog.showModal();
}

// Calls the API; on an error shows it and throws.
export async function api(method, path, body) {
  const url = new URL(path, new URL(window.jhdata.base_url + "api/", location.origin));
  url.searchParams.set("_xsrf", window.jhdata.xsrf_token);
  const options = { method, headers: { "Content-Type": "application/json" } };
  if (body !== undefined) options.body = JSON.stringify(body);
  let text = "The hub does not answer. Check your connection and try again.";
  try {
    const response = await fetch(url, options);
    if (response.ok) return response;
    const answer = await response.json().catch(() => ({}));
    text = `API request failed (${response.status}): ${answer.message ?? response.statusText}`;
  } catch {
    // The text above says it.
  }
  showError(text);
  throw new Error(text);
}
