"""The page: what the server renders, and what a real browser does with it."""

import shutil

import pytest

from db import jobs, keys
from tasks import tryon
from tests.support import quick
from tests.support.api import png
from tests.support.inputs import put
from tests.support.workers import ended

CHROMIUM = shutil.which("chromium")
HTML = {"Accept": "text/html"}
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def browser():
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def page(browser, api_server, database):
    """A page of a phone's size that fails the test when a script or the policy of contents complains."""
    complaints = []
    opened = browser.new_page(base_url=api_server.url, viewport=PHONE)
    opened.on("console", lambda message: complaints.append(message.text) if _is_fault(message) else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    assert complaints == []


def _is_fault(message):
    # The inputs of the stub stages are texts, which are not shown.
    return message.type == "error" and "Failed to load resource" not in message.text


def submit(request, person=None):
    (person_key, cloth_key), _ = put(request, person=person)
    return tryon.delay(person_key, cloth_key).id


def test_a_person_signs_in_with_a_key(page, request):
    _, key = keys.add_key("shop")
    page.goto("/jobs")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="New try-on").wait_for()
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("API key").wait_for()
    assert page.context.cookies() == []


def test_what_is_refused_is_shown_in_the_form(api_client):
    files = {"person": ("a.txt", b"no picture"), "garment": ("b.png", png("b"))}
    answer = api_client.post("/jobs", files=files, headers=HTML)
    assert answer.status_code == 422
    assert "ImageLoadError" in answer.text
    assert api_client.post("/jobs", headers=HTML).status_code == 415


def test_a_form_that_is_sent_twice_gives_one_job(api_client):
    files = {"person": ("a.png", png("a")), "garment": ("b.png", png("b"))}
    answers = [api_client.post("/jobs", files=files, data={"form_id": "1"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert len(jobs.recent()) == 1


def test_the_pages_answer_for_people_and_load_nothing_from_elsewhere(api_client, request):
    job_id = submit(request)
    for path in ("/", "/jobs", "/jobs?status=queued", f"/jobs/{job_id}", f"/jobs/{job_id}/state", "/sign-in"):
        answer = api_client.get(path, headers=HTML)
        assert answer.status_code == 200, path
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "://" not in answer.text, path
    missing = api_client.get("/jobs/unknown", headers=HTML)
    assert missing.status_code == 404
    assert "UnknownJobError" in missing.text
    assert api_client.get("/jobs/unknown").headers["content-type"] == "application/problem+json"


def test_pictures_are_served_and_nothing_else(api_client, request):
    files = {"person": png("p"), "garment": png("g")}
    job_id = api_client.post("/v1/tryons", files=files).json()["id"]
    answer = api_client.get(f"/jobs/{job_id}/pictures/person")
    assert (answer.content, answer.headers["content-type"]) == (files["person"], "image/png")
    for name in ("result", "other", "pose/pose.png", "pose/details.json"):
        assert api_client.get(f"/jobs/{job_id}/pictures/{name}").status_code == 404
    text = submit(request)
    assert api_client.get(f"/jobs/{text}/pictures/person").status_code == 404, "text is no picture"


def test_a_tenant_sees_no_page_of_another(shop, request):
    job_id = submit(request)
    stranger = shop("other")
    for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/state", f"/jobs/{job_id}/pictures/person"):
        assert stranger.get(path).status_code == 404
    assert stranger.post(f"/jobs/{job_id}/cancel").status_code == 404
    assert f"/jobs/{job_id}" not in stranger.get("/jobs").text


# The tests below run a worker until the end of the module; those above need jobs that stay queued.


def test_a_person_drops_two_pictures_and_sees_the_result(page, quick_worker, request):
    page.goto("/")
    for name in ("person", "garment"):
        content = png(f"{name} of {request.node.name}")
        page.get_by_label(name.capitalize()).set_input_files(
            {"name": f"{name}.png", "mimeType": "image/png", "buffer": content}
        )
    assert page.locator("img.preview:visible").count() == 2
    page.get_by_role("button", name="Try on").click()
    page.get_by_role("link", name="Download the picture").wait_for()
    assert page.locator("#status").inner_text() == "succeeded"
    slider = page.get_by_role("slider")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.input_value() == "51", "the comparison works with the keyboard"
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"], "nothing is wider than a phone"
    unnamed = page.locator("input:not([type=hidden]), select").evaluate_all(
        "all => all.filter(input => input.labels.length === 0).map(input => input.outerHTML)"
    )
    assert unnamed == [], "a screen reader names every field"


def test_a_running_job_is_followed_without_a_reload(page, quick_worker, request):
    job_id = submit(request, person="hold page-follow")
    quick.await_hold("page-follow")
    page.goto(f"/jobs/{job_id}")
    assert page.get_by_role("progressbar").is_visible()
    assert page.locator("#status").inner_text() == "running"
    quick.release("page-follow")
    page.get_by_role("link", name="Download the picture").wait_for()
    assert page.locator("#announcement").inner_text() == "succeeded"


def test_a_failed_job_shows_its_error_and_is_retried(page, quick_worker, request):
    job_id = submit(request, person="raise NoPersonError")
    ended(job_id)
    page.goto(f"/jobs/{job_id}")
    assert "NoPersonError in the stage pose" in page.get_by_role("alert").inner_text()
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("alert").wait_for()
    page.get_by_text("Delete", exact=True).click()
    page.get_by_role("button", name="Delete for good").click()
    page.wait_for_url("**/jobs")
    assert job_id not in page.content()
    assert jobs.statuses([job_id]) == {}
