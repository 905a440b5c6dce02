// Makes some things easier where there is JavaScript. Every page works without it.
"use strict";

document.documentElement.classList.replace("no-js", "js");

// A form is sent once, however often its button is pressed. The service takes a form that
// comes twice for one, too.
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    setTimeout(() => delete form.dataset.sent, 5000);
  });
}
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// The answer is taken out of the page when it hides itself, and when the page is left.
const answer = document.querySelector(".tarn-answer");
if (answer) {
  const hide = () => {
    answer.textContent = "The answer is hidden.";
    answer.classList.add("tarn-answer--hidden");
    answer.style.animation = "none";
  };
  setTimeout(hide, Number(answer.dataset.hideAfter) * 1000);
  addEventListener("pagehide", hide);

  for (const number of answer.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) break;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "nhsuk-button nhsuk-button--secondary nhsuk-button--small";
    button.textContent = "Copy the number";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(number.textContent.trim());
        button.textContent = "Copied";
      } catch {
        button.textContent = "Select the number and copy it";
      }
    });
    number.after(button);
  }
}

// An error summary is read first.
const summary = document.querySelector(".nhsuk-error-summary");
if (summary) {
  summary.setAttribute("tabindex", "-1");
  summary.focus();
}
