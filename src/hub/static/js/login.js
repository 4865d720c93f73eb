// The login form: show the password, warn on plain http, say that something happens.

const input = document.querySelector("#password_input, #answer_input");
const toggle = document.getElementById("toggle_password_visibility");
toggle?.addEventListener("click", () => {
  const show = input.type === "password";
  input.type = show ? "text" : "password";
  toggle.setAttribute("aria-pressed", String(show));
  input.focus();
});

if (!window.isSecureContext) {
  document.getElementById("insecure-login-warning")?.classList.remove("hidden");
}

const submit = document.getElementById("login_submit");
const feedback = document.querySelector(".feedback-widget");
submit?.form.addEventListener("submit", () => {
  if (input) input.type = input.id === "password_input" ? "password" : input.type;
  feedback.classList.remove("hidden");
  submit.setAttribute("aria-disabled", "true");
  setTimeout(() => (submit.disabled = true), 0);
});
addEventListener("pageshow", () => {
  if (!submit) return;
  submit.disabled = false;
  submit.removeAttribute("aria-disabled");
  feedback.classList.add("hidden");
});
