"""The page in a real browser: Debian's chromium without a screen.

The shapes are the built-in ones, the network is trained for a second. With BATCHOT_TEST_INDEX, an index of psb_meshes
made with a trained run, what is found is tested as well. Screenshots go to BATCHOT_SCREENSHOTS.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from search_support import draw_sketch, off_bytes, photograph
from serve.strokes import strokes_of
from serve_support import serving
from shape_folders import write_off

playwright = pytest.importorskip("playwright.sync_api", reason="the tests of the page need playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("the tests of the page need chromium", allow_module_level=True)
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
LIGHT: dict = {"bypass_csp": True}
DARK: dict = {"color_scheme": "dark", "bypass_csp": True}
PHONE: dict = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "bypass_csp": True}
pytestmark = pytest.mark.flaky(reruns=2)  # browser, server and clock on a machine that others use
PAGE_ERRORS_OF_THE_TEST: list[str] = []  # what the console may say
NAME_OF_FOCUS = """() => { const e = document.activeElement;
  return e.labels?.[0]?.innerText || e.ariaLabel || e.textContent || ''; }"""
TRAINED = os.environ.get("BATCHOT_TEST_INDEX")


@pytest.fixture(scope="module")
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    if TRAINED is None:
        yield request.getfixturevalue("server")
        return
    with serving(Path(TRAINED)) as (started, _):
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def page(browser, address: str, request: pytest.FixtureRequest) -> Iterator[object]:  # type: ignore[no-untyped-def]
    options = {"viewport": {"width": 1280, "height": 900}, **getattr(request, "param", {})}
    context = browser.new_context(**options)
    made = context.new_page()
    hosts: set[str] = set()
    errors: list[str] = []
    made.on("request", lambda asked: hosts.add(urlsplit(asked.url).netloc))
    made.on("websocket", lambda socket: hosts.add(urlsplit(socket.url).netloc))
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    made.goto(address)
    made.wait_for_selector(".pad-sheet", timeout=60_000)
    made.wait_for_function("document.querySelector('.pad-sheet').width > 10")
    yield made
    context.close()
    allowed = [PAGE_ERRORS_OF_THE_TEST.pop() for _ in PAGE_ERRORS_OF_THE_TEST[:]]
    # a question that cannot be looked up is an answer too, of which the console tells
    allowed.append("Failed to load resource: the server responded with a status of 4")
    assert [error for error in errors if not any(text in error for text in allowed)] == []
    assert hosts - {""} == {urlsplit(address).netloc}  # nothing is loaded from elsewhere


def shoot(page, name: str) -> None:  # type: ignore[no-untyped-def]
    if folder := os.environ.get("BATCHOT_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def draw(page, strokes: list[list[tuple[float, float]]]) -> None:  # type: ignore[no-untyped-def]
    page.locator(".pad-sheet").scroll_into_view_if_needed()
    box = page.locator(".pad-sheet").bounding_box()
    for stroke in strokes:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place)
        page.mouse.up()


def names(page) -> list[str]:  # type: ignore[no-untyped-def]
    return page.locator(".card .name").all_inner_texts()


def wait_for_other(page, before: list[str]) -> None:  # type: ignore[no-untyped-def]
    page.wait_for_function(
        "before => [...document.querySelectorAll('.card .name')].map(e => e.innerText).join() !== before",
        arg=",".join(before),
        timeout=60_000,
    )


def wait_for_names(page, wanted: list[str]) -> None:  # type: ignore[no-untyped-def]
    page.wait_for_function(
        "wanted => [...document.querySelectorAll('.card .name')].map(e => e.innerText).join() === wanted",
        arg=",".join(wanted),
        timeout=60_000,
    )


def guitar(tmp_path: Path) -> Path:
    """A guitar that somebody drew, where the real data is there; else one of the built-in shapes."""
    packed = Path(__file__).resolve().parents[3] / "shared" / "data"
    if packed.is_dir():
        folder = _unpacked(packed, tmp_path)
        if folder is not None:
            return sorted((folder / "guitar" / "test").glob("*.png"))[0]
    return draw_sketch(tmp_path / "drawn.png", "bottle", 3, size=200)


def _unpacked(packed: Path, to: Path) -> Path | None:
    import subprocess
    import sys

    command = [sys.executable, str(packed / "unpack.py"), str(to), "shrec14_sketches"]
    done = subprocess.run(command, capture_output=True, check=False)
    return to / "shrec14_sketches" if done.returncode == 0 else None


def test_draw_stroke_by_stroke(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    strokes = strokes_of(guitar(tmp_path))
    assert len(strokes) >= 2
    draw(page, strokes[:1])
    page.wait_for_selector(".card", timeout=60_000)  # while it is being drawn
    first = page.locator(".answer").inner_text()
    shoot(page, "drawing-begun")
    draw(page, strokes[1:])
    page.wait_for_function(
        "n => document.querySelector('.pad-sheet').ariaLabel.includes(n)", arg=f"{len(strokes)} str"
    )
    page.wait_for_function(
        "first => document.querySelector('.answer').innerText !== first", arg=first, timeout=60_000
    )
    page.wait_for_timeout(800)
    shoot(page, "drawing-done")
    if TRAINED is not None:
        assert page.locator(".answer .top").inner_text().startswith("Guitar")
        assert sum(name.startswith("Guitar") for name in names(page)[:5]) >= 4
    before = page.locator(".pad-sheet").get_attribute("aria-label")
    page.keyboard.press("Control+z")
    assert page.locator(".pad-sheet").get_attribute("aria-label") != before
    page.get_by_role("button", name="Clear the drawing").click()
    page.wait_for_selector(".card", state="detached", timeout=60_000)
    assert "Draw something" in page.locator(".answer").inner_text()


def test_upload_turn_and_more_like_this(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "bottle.off").write_bytes(off_bytes("bottle", 2))
    page.locator("#file").set_input_files(str(tmp_path / "bottle.off"))
    page.wait_for_selector(".card", timeout=60_000)
    if TRAINED is None:
        assert names(page)[0] == "bottle/2.off"
    view = page.locator(".card .view").first
    view.hover()
    page.wait_for_selector(".view.turned", timeout=60_000)
    shot = "() => document.querySelector('.view.turned canvas').toDataURL()"
    still = page.evaluate(shot)
    box = view.bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 110, box["y"] + 80, steps=6)
    page.mouse.up()
    dragged = page.evaluate(shot)
    assert dragged != still
    view.get_by_role("button").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"before => ({shot})() !== before", arg=dragged)
    shoot(page, "turned")
    before = names(page)
    page.get_by_role("button", name=re.compile(rf"More like this ?: {before[1].replace('/', '.')}$")).click()
    wait_for_other(page, before)
    page.wait_for_function("n => document.querySelector('.answer .top').innerText.includes(n)", arg=before[1])
    page.wait_for_selector(".card", timeout=60_000)
    assert before[1] not in names(page)
    with page.expect_download() as download:
        page.locator(".card .actions a").first.click()
    assert Path(download.value.path()).stat().st_size > 100


def test_what_is_refused_is_told(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "broken.off").write_bytes(b"OFF\n4000000000 1 0\n")
    page.locator("#file").set_input_files(str(tmp_path / "broken.off"))
    page.wait_for_selector(".answer.error", timeout=60_000)
    assert "broken.off" in page.locator(".answer").inner_text()
    shoot(page, "refused")
    draw(page, [[(0.2, 0.2), (0.8, 0.8), (0.8, 0.3)]])
    page.wait_for_selector(".card", timeout=60_000)
    assert page.locator(".answer.error").count() == 0


def test_pages_and_filters(page) -> None:  # type: ignore[no-untyped-def]
    draw(page, [[(0.3, 0.1), (0.3, 0.9), (0.7, 0.9), (0.7, 0.1)]])
    first = last_answer(page)
    if TRAINED is not None:
        page.get_by_role("button", name="Next").click()
        wait_for_other(page, first)
        assert not set(first) & set(names(page)) and "page 2" in page.locator(".pages").inner_text()
        page.get_by_role("button", name="Previous").click()
        wait_for_names(page, first)
    else:
        assert len(first) == 15  # all of them: there is no second page
        assert not page.locator(".pages").is_visible()
    wanted = first[-1].split("/")[0]
    page.get_by_label("classes").fill(wanted.upper())
    page.keyboard.press("Enter")
    wait_for_other(page, first)
    assert {name.split("/")[0] for name in names(page)} == {wanted}
    page.get_by_label("classes").fill("nothing of the kind")
    page.keyboard.press("Enter")
    assert "There is no nothing of the kind" in page.locator(".filter:not(.axis)").first.inner_text()
    chip = page.get_by_role("button", name=re.compile(rf"{wanted} .*: take this filter away"))
    assert int(chip.locator(".count").inner_text()) >= len(names(page))
    chip.click()
    wait_for_names(page, first)


def test_the_map_can_be_clicked(page) -> None:  # type: ignore[no-untyped-def]
    page.locator(".map").scroll_into_view_if_needed()
    page.wait_for_selector(".map canvas", timeout=60_000)
    page.wait_for_timeout(500)
    box = page.locator(".map").bounding_box()
    host = urlsplit(page.url)
    points = page.request.get(f"{host.scheme}://{host.netloc}/api/v1/map").json()
    point = points[0]
    # the axes go from -1.05 to 1.05, 4 pixels from the edges, 44 from the legend's
    x = box["x"] + 4 + (point["x"] + 1.05) / 2.1 * (box["width"] - 8)
    y = box["y"] + 4 + (1.05 - point["y"]) / 2.1 * (box["height"] - 48)
    page.mouse.click(x, y)
    page.wait_for_selector(".card", timeout=60_000)
    page.wait_for_function("document.querySelector('.answer .top').innerText.startsWith('More like ')")
    shoot(page, "map")


@pytest.mark.parametrize("page", [{"color_scheme": "dark"}], indirect=True)
def test_dark_and_light(page) -> None:  # type: ignore[no-untyped-def]
    ground = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    assert sum(int(x) for x in dark[4:-1].split(",")) < 150
    draw(page, [[(0.5, 0.1), (0.2, 0.9), (0.8, 0.9), (0.5, 0.1)]])
    page.wait_for_selector(".card", timeout=60_000)
    page.wait_for_timeout(500)
    shoot(page, "dark")
    for _ in range(2):  # on, then off
        page.get_by_role("button", name="Colours").click()
        page.wait_for_timeout(300)
    assert sum(int(x) for x in page.evaluate(ground)[4:-1].split(",")) > 600


@pytest.mark.parametrize(
    "page", [{"viewport": {"width": 360, "height": 740}, "has_touch": True}], indirect=True
)
def test_a_phone(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    box = page.locator(".pad-sheet").bounding_box()
    page.touchscreen.tap(box["x"] + 50, box["y"] + 50)
    draw(page, [[(0.2, 0.5), (0.8, 0.5), (0.8, 0.7)]])
    page.wait_for_selector(".card", timeout=60_000)
    page.wait_for_timeout(400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for button in page.locator(".card .tool").all()[:4]:
        assert button.bounding_box()["height"] >= 32  # a finger hits it
    shoot(page, "phone")
    page.locator(".card").first.scroll_into_view_if_needed()
    shoot(page, "phone-results")
    page.evaluate("scrollTo(0, 0)")
    page.get_by_role("button", name="see what was found").click()
    assert abs(page.locator(".answer").bounding_box()["y"]) < 60
    page.evaluate("scrollTo(0, 0)")
    (tmp_path / "bottle.off").write_bytes(off_bytes("bottle", 2))
    page.locator("#file").set_input_files(str(tmp_path / "bottle.off"))
    page.wait_for_function(
        "document.querySelector('.answer').getBoundingClientRect().top < 100"
    )  # it comes by itself


def test_by_keyboard_alone(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    draw(page, [[(0.2, 0.5), (0.8, 0.5)]])
    page.wait_for_selector(".card", timeout=60_000)
    page.wait_for_timeout(600)
    page.evaluate("document.body.tabIndex = -1; document.body.focus()")  # from the beginning
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(NAME_OF_FOCUS))
        if "with the arrow keys" in seen[-1]:
            break
    assert "with the arrow keys" in seen[-1], seen
    assert any("Undo the last stroke" in label for label in seen), seen
    assert any("choose it" in label for label in seen) and any("Thickness" in label for label in seen), seen
    page.wait_for_selector(".view.turned", timeout=60_000)  # the focus wakes it
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    before = names(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for_other(page, before)
    page.wait_for_function("document.querySelector('.answer .top').innerText.startsWith('More like ')")
    assert page.evaluate("document.activeElement.className").startswith("answer")  # not lost to the body
    page.get_by_role("button", name="Back to your drawing").click()
    wait_for_names(page, before)


def ask_by_drawing(page) -> list[str]:  # type: ignore[no-untyped-def]
    draw(page, [[(0.3, 0.1), (0.3, 0.9), (0.7, 0.9)]])
    return last_answer(page)


def last_answer(page) -> list[str]:  # type: ignore[no-untyped-def]
    """A slow machine pauses within the stroke, which is looked up before the whole is: wait for the last answer."""
    page.wait_for_selector(".card", timeout=60_000)
    page.wait_for_function(
        """() => { const busy = document.querySelector('.answer').ariaBusy !== 'false';
        const now = [...document.querySelectorAll('.card .name')].map(e => e.innerText).join();
        if (busy || window.seen !== now) Object.assign(window, { seen: busy ? null : now, since: Date.now() });
        return Date.now() - window.since > 1500; }"""
    )
    return names(page)


def test_what_was_asked_for_stays_in_sight(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    first = ask_by_drawing(page)
    assert "You asked for your drawing" in page.locator(".asked").inner_text()
    write_off(tmp_path / "bottle <b>.off", "bottle", 2)
    page.locator("#file").set_input_files(str(tmp_path / "bottle <b>.off"))
    wait_for_other(page, first)
    assert "You asked for the file bottle <b>.off" in page.locator(".asked").inner_text()
    page.wait_for_function("document.querySelector('.asked img')?.naturalWidth > 0")  # drawn by the server
    assert "1 stroke" in page.locator(".pad-sheet").get_attribute("aria-label")  # the drawing is still there
    if TRAINED is None:
        assert "This very file is in the index: bottle/2.off" in page.locator(".answer").inner_text()
        assert page.locator(".card .badge").first.inner_text() == "This very file"
    page.get_by_role("button", name="Look this drawing up again").click()
    page.wait_for_function("document.querySelector('.asked p').innerText.includes('your drawing')")
    wait_for_other(page, [])
    assert names(page) == first


def test_a_type_that_is_not_taken_is_told_its_reason(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    before = ask_by_drawing(page)
    for name, content, reason in (
        ("part.step", b"ISO-10303-21;\nHEADER;\n", "cut off"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "format"),
    ):
        (tmp_path / name).write_bytes(content)
        page.locator("#file").set_input_files(str(tmp_path / name))
        page.wait_for_function(
            "name => document.querySelector('.answer.error')?.innerText.includes(name)", arg=name
        )
        told = page.locator(".answer").inner_text()
        assert reason in told and "64 MB" not in told and "may have" not in told
        assert page.locator(".card").count() == 0  # nothing old stands under an error
    assert before


def test_a_lost_connection_takes_nothing_away(page) -> None:  # type: ignore[no-untyped-def]
    first = ask_by_drawing(page)
    page.context.set_offline(True)
    draw(page, [[(0.1, 0.5), (0.9, 0.5)]])
    page.wait_for_selector(".trouble")
    assert "No connection" in page.locator(".trouble").inner_text()
    assert names(page) == first
    page.context.set_offline(False)
    page.wait_for_selector(".trouble", state="detached", timeout=60_000)
    wait_for_other(page, first)
    now = last_answer(page)
    page.reload()
    page.wait_for_selector(".card", timeout=60_000)
    assert names(page) == now
    page.wait_for_selector(".pad-sheet")
    assert "2 strokes" in page.locator(".pad-sheet").get_attribute("aria-label")
    PAGE_ERRORS_OF_THE_TEST.append("net::ERR_INTERNET_DISCONNECTED")


def test_webgl_taken_away_leaves_the_pictures(page) -> None:  # type: ignore[no-untyped-def]
    page.evaluate(
        """() => { const get = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
          const made = get.call(this, kind, ...more);
          if (kind.startsWith("webgl")) window.made = made;
          return made; }; }"""
    )
    ask_by_drawing(page)
    view = page.locator(".card .view").first
    view.hover()
    page.wait_for_selector(".view.turned", timeout=60_000)
    page.evaluate("window.made.getExtension('WEBGL_lose_context').loseContext()")
    page.wait_for_selector(".view.turned", state="detached")
    assert page.evaluate("getComputedStyle(document.querySelector('.view img')).opacity") == "1"
    view.get_by_role("button").click()
    page.wait_for_selector(".view.turned", timeout=60_000)  # in a context of its own
    PAGE_ERRORS_OF_THE_TEST.append("CONTEXT_LOST")


def test_long_shapes_are_not_cut_off_in_3d(page) -> None:  # type: ignore[no-untyped-def]
    ask_by_drawing(page)
    for view in page.locator(".card .view").all()[:4]:
        view.hover()
        page.wait_for_function(
            "e => e.classList.contains('turned')", arg=view.element_handle(), timeout=60_000
        )
        edge = page.evaluate(
            """e => { const c = e.querySelector('canvas'), g = c.getContext('2d'), n = c.width;
            const rows = [g.getImageData(0, 0, n, 1), g.getImageData(0, n - 1, n, 1), g.getImageData(0, 0, 1, n),
              g.getImageData(n - 1, 0, 1, n)];
            return Math.max(...rows.map(r => Math.max(...r.data.filter((_, k) => k % 4 === 3)))); }""",
            view.element_handle(),
        )
        assert edge == 0  # nothing touches the edge


@pytest.mark.parametrize("page", [LIGHT, DARK, PHONE, {**PHONE, **DARK}], indirect=True)
def test_axe_finds_nothing(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    axe = (files("axe_playwright_python") / "axe.min.js").read_text()

    def findings() -> list[str]:
        page.evaluate(axe)
        found = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
        return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found]

    assert findings() == []
    ask_by_drawing(page)
    assert findings() == []
    (tmp_path / "a.step").write_bytes(b"ISO-10303-21;")
    page.locator("#file").set_input_files(str(tmp_path / "a.step"))
    page.wait_for_selector(".answer.error")
    assert findings() == []


def asked(page, wanted: str) -> None:  # type: ignore[no-untyped-def]
    """Wait until the page has answered this question."""
    page.wait_for_function(
        """wanted => document.querySelector('.asked p')?.innerText.includes(wanted)
        && document.querySelector('.answer').ariaBusy === 'false' && !!document.querySelector('.card')""",
        arg=wanted,
        timeout=60_000,
    )


def ask_for(page, word: str) -> list[str]:  # type: ignore[no-untyped-def]
    page.get_by_label("Words of the name").fill(word)
    page.keyboard.press("Enter")
    asked(page, f"“{word}”")
    return names(page)


def word(page) -> str:  # type: ignore[no-untyped-def]
    """A class of the index, of which there are several shapes."""
    counts = page.request.get(f"{page.url.partition('#')[0]}api/v1/classes").json()
    return max(counts, key=lambda name: counts[name])


def sizes(page) -> list[float]:  # type: ignore[no-untyped-def]
    """The longest sides on the cards."""
    texts = page.locator(".card .size").all_inner_texts()
    return [max(float(x.replace(",", "")) for x in re.findall(r"[\d.,]+", text)) for text in texts]


def test_sizes_filter_and_order_and_are_in_the_link(page) -> None:  # type: ignore[no-untyped-def]
    page.get_by_label("Words of the name").fill(word(page))
    page.keyboard.press("Enter")
    page.wait_for_selector(".card")
    page.get_by_label("order").select_option("-size")
    page.wait_for_function("document.querySelector('.answer').ariaBusy === 'false'")
    page.wait_for_function("location.hash.includes('sort=-size')")
    known = sizes(page)
    assert len(known) > 1 and known == sorted(known, reverse=True)
    middle = (known[0] + known[-1]) / 2
    page.get_by_label("longest side").fill(f"{middle:.4g}..")
    page.get_by_label("longest side").press("Enter")
    few = sum(size >= float(f"{middle:.4g}") for size in known)
    page.wait_for_function(
        "few => document.querySelectorAll('.card').length === few", arg=few, timeout=60_000
    )
    assert sizes(page) == known[:few]
    address = page.url
    page.get_by_label("longest side").fill("wide")
    page.get_by_label("longest side").press("Enter")
    page.wait_for_selector(".answer.error")
    assert "is no range of sizes" in page.locator(".answer").inner_text()
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(".card")
    assert sizes(page) == known[:few] and page.get_by_label("longest side").input_value() == f"{middle:.4g}.."


def test_the_same_size_as_a_shape(page) -> None:  # type: ignore[no-untyped-def]
    ask_by_drawing(page)
    with page.expect_request("**/api/v1/queries/**") as again:
        page.get_by_label("same size as the shape").check()
    assert "same_size" not in again.value.url  # a drawing has none
    page.wait_for_function("document.querySelector('.answer').ariaBusy === 'false'")
    assert page.locator(".card").count()
    with page.expect_response("**/similar?**same_size=true**") as found:
        page.locator(".card").first.get_by_role("button", name="More like this").click()
    hits = found.value.json()["hits"]
    page.wait_for_function("n => document.querySelectorAll('.card').length === n", arg=len(hits))
    assert len(hits) < page.request.get(found.value.url.replace("same_size=true", "")).json()["total"]


def test_names_alone_and_the_back_button(page) -> None:  # type: ignore[no-untyped-def]
    name = word(page)
    found = ask_for(page, name.upper())
    assert found and all(name in one for one in found)
    assert page.locator(".card .score").count() == 0  # nothing was compared
    page.get_by_role("button", name=re.compile("More like this")).first.click()
    asked(page, f"more like {found[0]}")
    like = names(page)
    assert found[0] not in like
    page.get_by_role("button", name=re.compile(r": take this filter away")).first.click()
    page.wait_for_function("() => !document.querySelector('.chips')")
    asked(page, f"more like {found[0]}")
    assert len(names(page)) >= len(like)
    page.go_back()
    wait_for_names(page, like)
    page.go_back()
    wait_for_names(page, found)
    assert page.get_by_label("Words of the name").input_value() == name.upper()
    page.go_forward()
    wait_for_names(page, like)
    page.get_by_role("button", name=f"Back to “{name.upper()}”").click()
    wait_for_names(page, found)
    page.go_back()
    page.wait_for_selector(".card", state="detached")


def test_a_link_holds_the_question(page, browser, address: str) -> None:  # type: ignore[no-untyped-def]
    ask_by_drawing(page)
    page.get_by_label("Words of the name").fill(word(page))
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.includes('text=')")
    asked(page, "your drawing")
    found, link = names(page), page.url
    other = browser.new_context().new_page()
    sent: list[str] = []
    other.on("request", lambda one: sent.append(one.url))
    other.goto(link)
    asked(other, "your drawing")
    assert set(names(other)) == set(found)  # strokes are kept to a 255th of the sheet
    assert "1 stroke" in other.locator(".pad-sheet").get_attribute("aria-label")
    assert not any("drawing=" in url for url in sent)  # what is asked is in no log
    page.get_by_role("button", name=re.compile("More like this")).first.click()
    asked(page, "more like")
    other.goto("about:blank")
    other.goto(page.url)
    asked(other, "more like")
    assert names(other) == names(page)
    other.context.close()


def test_not_this(page) -> None:  # type: ignore[no-untyped-def]
    first = ask_by_drawing(page)
    page.get_by_role("button", name=re.compile(rf"Not this ?: {first[0].replace(chr(47), chr(46))}")).click()
    wait_for_other(page, first)
    assert first[0] not in names(page)
    page.get_by_role("button", name=re.compile("take it in again")).click()
    wait_for_names(page, first)


def test_large_and_side_by_side(page) -> None:  # type: ignore[no-untyped-def]
    ask_by_drawing(page)
    shot = "k => document.querySelectorAll('.stage canvas')[k].toDataURL()"
    page.get_by_role("button", name=re.compile("^Large")).first.click()
    page.wait_for_function("() => document.querySelector('.stage canvas')?.width > 300")
    dialog = page.get_by_role("dialog")
    assert "in the units of its file, width" in dialog.inner_text()
    size = page.locator(".card .size").first.inner_text()
    assert size.count(chr(215)) == 2 and size in dialog.inner_text()
    start = page.evaluate(shot, 0)
    shoot(page, "large")
    for key in ("ArrowLeft", "+", "w"):
        before = page.evaluate(shot, 0)
        page.keyboard.press(key)
        page.wait_for_function(f"before => ({shot})(0) !== before", arg=before)
    assert dialog.get_by_role("button", name="Wireframe").get_attribute("aria-pressed") == "true"
    shoot(page, "wireframe")
    dialog.get_by_role("button", name="Wireframe").click()
    dialog.get_by_role("button", name="Reset").click()
    page.wait_for_function(f"start => ({shot})(0) === start", arg=start)
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert page.evaluate("document.activeElement.innerText").startswith("Large")
    compare = page.get_by_role("button", name=re.compile("^Compare"))
    compare.nth(0).click()
    assert "choose “Compare” of another" in page.locator(".answer").inner_text()
    compare.nth(1).click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.stage canvas')].filter(c => c.width > 200).length === 2"
    )
    before = [page.evaluate(shot, k) for k in range(2)]
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"before => before.every((one, k) => ({shot})(k) !== one)", arg=before)
    shoot(page, "side-by-side")
    dialog.get_by_role("button", name="Close", exact=True).click()
    page.wait_for_selector("dialog", state="detached")


def test_paste_and_drop_anywhere(page) -> None:  # type: ignore[no-untyped-def]
    event = """([kind, name, content]) => {
      const data = new DataTransfer();
      data.items.add(new File([content], name));
      const made = kind === "paste" ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
        : new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
      document.querySelector("h1").dispatchEvent(made); }"""
    page.evaluate(event, ["paste", "pasted.off", off_bytes("bottle", 2).decode()])
    asked(page, "the file pasted.off")
    page.evaluate(event, ["dragover", "dropped.off", ""])
    page.wait_for_selector(".drop.over")
    page.evaluate(event, ["drop", "dropped.off", off_bytes("stairs", 2).decode()])
    asked(page, "the file dropped.off")
    assert page.locator(".drop.over").count() == 0


def test_the_list_as_csv_and_zip(page) -> None:  # type: ignore[no-untyped-def]
    found = ask_for(page, word(page))
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the list").click()
    with Path(download.value.path()).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows][: len(found)] == found and rows[0]["rank"] == "1"
    with page.expect_download() as download:
        page.get_by_role("link", name="Save these files").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.namelist() == found


def test_eraser_redo_and_a_picture_to_trace(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    ask_by_drawing(page)
    ink = """() => { const c = document.querySelector('.pad-sheet');
      const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
      return data.filter((v, k) => k % 4 === 3 && v > 99).length; }"""
    label = page.locator(".pad-sheet")
    drawn = page.evaluate(ink)
    page.get_by_role("button", name="Eraser").click()
    draw(page, [[(0.25, 0.3), (0.35, 0.3)]])
    erased = page.evaluate(ink)
    assert 0 < erased < drawn
    page.get_by_role("button", name="Undo the last stroke").click()
    assert page.evaluate(ink) > (erased + drawn) / 2 and "1 stroke" in label.get_attribute("aria-label")
    page.get_by_role("button", name="Redo what was undone").click()
    assert page.evaluate(ink) < (erased + drawn) / 2
    page.get_by_label("Picture to trace").set_input_files(str(draw_sketch(tmp_path / "a.png", "bottle", 1)))
    ground = "() => getComputedStyle(document.querySelector('.pad-sheet')).backgroundImage"
    page.wait_for_function(f"() => ({ground})().includes('blob:')")
    shoot(page, "traced")
    assert page.evaluate(ink) < (erased + drawn) / 2  # it is no part of the drawing
    page.get_by_role("button", name="Take the picture away").click()
    page.wait_for_function(f"() => !({ground})().includes('blob:')")


def test_several_files_are_asked_as_one(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for k, name in enumerate(("bottle", "stairs")):
        (tmp_path / f"{k}.off").write_bytes(off_bytes(name, 2))
    page.locator("#file").set_input_files([str(tmp_path / "0.off"), str(tmp_path / "1.off")])
    asked(page, "You asked for 2 files")
    assert "2 files were asked for as one" in page.locator(".answer").inner_text()
    page.locator("#file").set_input_files([str(tmp_path / "0.off")] * 9)
    page.wait_for_selector(".answer.error")
    assert "8 at most" in page.locator(".answer").inner_text()


def test_a_file_that_is_gone_is_no_lost_connection(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "bottle.off"
    file.write_bytes(off_bytes("bottle", 2))
    page.locator("#file").set_input_files(str(file))
    page.wait_for_selector(".card", timeout=60_000)
    found, up = names(page), page.get_by_label("axis of the file that points up")
    page.reload()
    page.wait_for_selector(".card", timeout=60_000)
    up.select_option("y")  # it is no longer in the page, but what was found is
    page.wait_for_selector(".trouble")
    assert "bottle.off" in page.locator(".trouble").inner_text() and names(page) == found
    page.locator("#file").set_input_files(str(file))
    page.wait_for_selector(".trouble", state="detached", timeout=60_000)
    page.wait_for_selector(".card", timeout=60_000)
    file.unlink()
    up.select_option("z")  # it is read anew
    page.wait_for_selector(".answer.error")
    assert "bottle.off cannot be read" in page.locator(".answer").inner_text()
    assert page.locator(".trouble").count() == 0


@pytest.mark.parametrize(
    "end", ["&page=9", "&page=-3", "&page=x", "&page=1.5", "&not=x%20y", "&like=../info?", "&query=../info"]
)
def test_what_a_link_asks_for_that_is_not_there(page, end: str) -> None:  # type: ignore[no-untyped-def]
    name = word(page)
    start = page.url.partition("#")[0]
    page.goto("about:blank")
    page.goto(f"{start}#text={name}{end}")
    asked(page, f"“{name}”")
    assert all(name in one for one in names(page))


def test_what_answers_in_place_of_the_server_is_told(page) -> None:  # type: ignore[no-untyped-def]
    page.route(
        "**/api/v1/search?**",
        lambda route: route.fulfill(body="<html>sign in</html>", content_type="text/html"),
    )
    page.get_by_label("Words of the name").fill("x")
    page.keyboard.press("Enter")
    page.wait_for_selector(".answer.error")  # and it is not asked for ever
    assert "sign-in" in page.locator(".answer").inner_text()


def test_a_link_leads_to_what_it_asks_for_past_the_token(browser, small_index: Path) -> None:  # type: ignore[no-untyped-def]
    token = "a-token-of-16-letters"
    with serving(small_index, "--processes", "1", "--token", token) as (started, _):
        other = browser.new_context().new_page()
        other.goto(f"{started}/?x=1#text=bottle")
        for typed in ("no token at all", token):
            other.get_by_label("Token").fill(typed)
            other.keyboard.press("Enter")
            other.wait_for_selector("[role=alert]" if typed != token else ".card")
        assert len(names(other)) == 5 and other.url == f"{started}/?x=1#text=bottle"
        other.context.close()
        # from a page of another site, as a mail in the browser is: with the token at first, then without
        mail = browser.new_context().new_page()
        mail.route("http://mail.example/", lambda route: route.fulfill(
            body=f'<a href="{started}/?token={token}#text=bottle">1</a> <a href="{started}/#text=stairs">2</a>',
            content_type="text/html"))  # fmt: skip
        for link, wanted in (("1", "bottle"), ("2", "stairs")):
            mail.goto("http://mail.example/")
            mail.get_by_role("link", name=link).click()
            asked(mail, f"“{wanted}”")
            assert all(wanted in one for one in names(mail)) and token not in mail.url
        mail.context.close()


def test_as_what_a_picture_is_taken_is_told_and_can_be_changed(  # type: ignore[no-untyped-def]
    browser, photo_index: Path, tmp_path: Path
) -> None:
    with serving(photo_index, "--processes", "1") as (started, _):
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.goto(started)
        switch = page.get_by_label("a picture is")
        page.locator("#file").set_input_files(str(photograph(tmp_path / "photo.jpg", "stairs", 41)))
        asked(page, "photo.jpg, taken for a photo")
        found = names(page)
        assert found[0].startswith("stairs")
        assert (
            page.locator(".bar-of").count() == 0
        )  # its distances are of another space than those of the index
        shoot(page, "photo")
        switch.select_option("picture")
        asked(page, "photo.jpg, taken for a drawing")
        assert "looks like a photo" in page.locator(".answer").inner_text() and names(page) != found
        switch.select_option("photo")
        asked(page, "photo.jpg, taken for a photo")
        assert names(page) == found
        page.locator("#file").set_input_files(str(draw_sketch(tmp_path / "a.png", "bottle", 4)))
        asked(page, "a.png, taken for a photo")
        switch.select_option("auto")
        asked(page, "a.png, taken for a drawing")
        switch.select_option("photo")
        asked(page, "a.png, taken for a photo")
        draw(page, [[(0.3, 0.1), (0.3, 0.9), (0.7, 0.9)]])  # what is drawn here is a drawing
        asked(page, "You asked for your drawing")
        page.context.close()
