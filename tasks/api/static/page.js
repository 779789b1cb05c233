"use strict";

// A form that is sent twice (a double click, a reload) gives one job.
function identify(form) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  form.elements.form_id.value = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  form.addEventListener("submit", () => {
    form.querySelector("button").disabled = true;
  });
}

function showPreview(input, image) {
  if (image.src) URL.revokeObjectURL(image.src);
  image.hidden = input.files.length === 0;
  if (!image.hidden) {
    image.src = URL.createObjectURL(input.files[0]);
    image.alt = input.files[0].name;
  }
}

function acceptDrops(area) {
  const input = area.querySelector("input");
  const image = area.querySelector("img");
  input.addEventListener("change", () => showPreview(input, image));
  area.addEventListener("dragover", (event) => {
    event.preventDefault();
    area.classList.add("over");
  });
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("over");
    if (event.dataTransfer.files.length === 1) {
      input.files = event.dataTransfer.files;
      showPreview(input, image);
    }
  });
}

function compare(root) {
  const slider = root.querySelector("#share");
  if (!slider) return;
  const pictures = root.querySelector(".pictures");
  const show = () => pictures.style.setProperty("--before", `${slider.value}%`);
  slider.addEventListener("input", show);
  show();
}

// Replaces the state by what the server renders, at each change of the job.
function follow(state) {
  const job = state.dataset.job;
  const events = new EventSource(`/v1/tryons/${job}/events`);
  const announcement = document.getElementById("announcement");
  const update = async () => {
    const answer = await fetch(`/jobs/${job}/state`);
    if (!answer.ok) return;
    state.innerHTML = await answer.text();
    compare(state);
    const shown = state.querySelector("p").textContent.replace(/\s+/g, " ").trim();
    announcement.textContent = shown;
    document.title = `${shown} · Try-on`;
  };
  // One after the other: an answer that comes late must not replace a newer one.
  let updates = Promise.resolve();
  for (const name of ["queued", "running", "succeeded", "failed", "canceled"]) {
    events.addEventListener(name, () => {
      if (["succeeded", "failed", "canceled"].includes(name)) events.close();
      updates = updates.then(update, update);
    });
  }
}

const form = document.getElementById("new");
if (form) identify(form);
document.querySelectorAll(".drop").forEach(acceptDrops);
const state = document.getElementById("state");
if (state) {
  compare(state);
  if ("follow" in state.dataset) follow(state);
}
// A page from the browser's history has a form that was sent already.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
