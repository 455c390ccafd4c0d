"""The HTML report and d3viz pages, in a real browser without a network."""

from __future__ import annotations

import random
import shutil

import numpy as np
import pytest

import kroton
import kroton.tensor as T

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1400,1000",
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium and chromedriver are not installed")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    for switch in SWITCHES:
        options.add_argument(switch)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_page_load_timeout(120)
    yield driver
    driver.quit()


def regression(mode):
    rng = np.random.default_rng(0)
    x, y = T.dmatrix("x"), T.dvector("y")
    w, b = kroton.shared(np.zeros(7), name="w"), kroton.shared(0.0, name="b")
    cost = ((x @ w + b - y) ** 2).mean() + 0.01 * (w**2).sum()
    gw, gb = T.grad(cost, [w, b])
    f = kroton.function(
        [x, y], cost, updates=[(w, w - 0.1 * gw), (b, b - 0.1 * gb)], mode=mode, name="regression"
    )
    return f, (rng.normal(size=(50, 7)), rng.normal(size=50))


def network(mode):
    rng = np.random.default_rng(0)
    x, y = T.dmatrix("x"), T.lvector("y")
    w = kroton.shared(rng.normal(size=(30, 20)), name="w")
    v = kroton.shared(rng.normal(size=(20, 5)), name="v")
    p = T.nnet.softmax(T.tanh(x @ w) @ v)
    cost = T.nnet.categorical_crossentropy(p, y).mean()
    gw, gv = T.grad(cost, [w, v])
    f = kroton.function(
        [x, y], cost, updates=[(w, w - 0.1 * gw), (v, v - 0.1 * gv)], mode=mode, name="network"
    )
    return f, (rng.normal(size=(20, 30)), rng.integers(0, 5, 20))


def two_thousand(mode):
    choose = random.Random(0)
    x = T.dvector("x")
    pool = [x]
    tips = {x}
    while len(pool) < 1150:
        a = pool[-1 - min(int(choose.expovariate(0.1)), len(pool) - 1)]
        b = choose.choice(pool[-30:])
        new = T.tanh(a - 0.5 * b) if len(pool) % 2 else T.sin(a) * 0.3
        tips -= {a, b}
        tips.add(new)
        pool.append(new)
    outs = list(tips)
    f = kroton.function([x], outs, mode=mode.excluding("fusion"), name="large")
    assert len(f.maker.linked.order) >= 2000
    return f, (np.linspace(0, 1, 6),)


def no_errors(browser):
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []


def count(browser, selector):
    return browser.execute_script(f"return document.querySelectorAll('{selector}').length")


def find(browser, selector):
    return browser.find_elements("css selector", selector)


@pytest.mark.parametrize("build", [regression, network, two_thousand])
def test_the_report_loads_sorts_searches_and_shows_a_node(browser, tmp_path, build):
    mode = kroton.ProfileMode()
    f, values = build(mode)
    for _ in range(3):
        f(*values)
    n = len(f.maker.linked.order)
    path = tmp_path / "profile.html"
    mode.write_html(path)
    browser.get(path.as_uri())
    assert browser.execute_script("return document.body.dataset.ready") == "yes"
    assert browser.title == "Kroton profile"
    assert count(browser, "#nodes .node.apply") == n
    assert count(browser, "#tables tbody tr") == min(n, 200)
    assert count(browser, "#bars rect") == n

    def column(k):
        script = f"return [...document.querySelectorAll('#tables td:nth-child({k})')]"
        return browser.execute_script(script + ".map((cell) => cell.textContent)")

    find(browser, "#tables th:nth-child(5)")[0].click()
    assert [int(text) for text in column(5)] == list(range(n - 1, -1, -1))[:200]
    find(browser, "#tables th:nth-child(5)")[0].click()
    assert [int(text) for text in column(5)] == list(range(n))[:200]
    for button in find(browser, "#more"):
        button.click()
    assert count(browser, "#tables tbody tr") == n

    box = browser.find_element("id", "search")
    wanted = f.maker.linked.order[0].op.__class__.__name__.lower()
    box.send_keys(wanted[:6] + "\n")
    hits = count(browser, "#nodes .node.found")
    assert 0 < hits <= n
    assert browser.find_element("id", "found").text == f"{hits} found"
    assert count(browser, "#nodes .node.picked") == 1

    box.send_keys("\b" * 6 + "\n")
    assert count(browser, "#nodes .node.found") == 0
    node = find(browser, "#nodes .node.picked")[0]
    node.click()
    details = browser.find_element("id", "details").text
    assert "source" in details
    assert "test_page.py" in details
    assert count(browser, "#tables tr.picked") == 1
    for button in ("closer", "farther", "fit"):
        browser.find_element("id", button).click()
    for tab in find(browser, "#tabs button"):
        tab.click()
        assert count(browser, "#tables table") == 1
    no_errors(browser)


def test_the_page_asks_the_network_for_nothing(tmp_path):
    mode = kroton.ProfileMode()
    f, values = regression(mode)
    f(*values)
    mode.write_html(tmp_path / "profile.html")
    text = (tmp_path / "profile.html").read_text()
    addresses = text.replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in addresses
    assert "https://" not in addresses
    assert "src=" not in text


def test_d3viz_draws_what_has_not_been_profiled(browser, tmp_path):
    f, _ = network("FAST_RUN")
    kroton.d3viz.d3viz(f, tmp_path / "f.html")
    browser.get((tmp_path / "f.html").as_uri())
    nodes = find(browser, "#nodes .node.apply")
    assert len(nodes) == len(f.maker.linked.order)
    nodes[0].click()
    assert "Op" in browser.find_element("id", "details").text
    no_errors(browser)


def test_names_with_markup_are_shown_as_they_are(browser, tmp_path):
    x = T.dvector("</script><b>x")
    kroton.d3viz.d3viz(T.exp(x), tmp_path / "x.html")
    browser.get((tmp_path / "x.html").as_uri())
    texts = [element.text for element in find(browser, "#nodes text")]
    assert "</script><b>x" in texts
    no_errors(browser)


@pytest.mark.parametrize(
    "name", ["<!--<script>", "]]><script>alert(1)</script>", "a < b && c", "__DATA__"]
)
def test_no_name_can_end_or_hide_the_script(browser, tmp_path, name):
    mode = kroton.ProfileMode()
    f = kroton.function([T.dvector(name)], kroton.shared(0.0, name=name) + 1, mode=mode,
                        on_unused_input="ignore", name=name)  # fmt: skip
    f([1.0])
    mode.write_html(tmp_path / "x.html")
    browser.get((tmp_path / "x.html").as_uri())
    assert browser.execute_script("return document.body.dataset.ready") == "yes"
    assert name in [element.text for element in find(browser, "#nodes text")]
    no_errors(browser)


def same_names(browser, tmp_path):
    """A page of two functions of one name, in Python and compiled, and many rows."""
    x = T.dvector("x")
    mode = kroton.ProfileMode()
    for k, chosen in enumerate([mode, mode.clone(linker="py")]):
        out = x
        for _ in range(40):
            out = T.tanh(out) if k else T.exp(-out)
        f = kroton.function([x], out, mode=chosen.excluding("fusion"), name="same")
        f([1.0])
    mode.write_html(tmp_path / "same.html")
    browser.get((tmp_path / "same.html").as_uri())


def test_functions_of_one_name_are_not_confused(browser, tmp_path):
    same_names(browser, tmp_path)
    assert [o.text for o in find(browser, "#graphs option")] == ["same (1)", "same (2)"]
    for k in (1, 0):
        row = find(browser, f'#tables tr[data-graph="{k}"][data-position="30"]')[0]
        operation = row.find_element("css selector", "td:nth-child(6)").text
        row.click()
        assert browser.find_element("css selector", "#details h2").text == operation
        assert browser.find_element("id", "graphs").get_property("value") == str(k)
        assert [r.get_attribute("data-graph") for r in find(browser, "tr.picked")] == [str(k)]
    no_errors(browser)


def test_a_click_on_a_row_far_down_shows_its_node(browser, tmp_path):
    same_names(browser, tmp_path)
    row = find(browser, "#tables tbody tr")[-1]
    browser.execute_script("arguments[0].scrollIntoView()", row)
    row.click()
    top, bottom, height = browser.execute_script(
        "const box = document.querySelector('.node.picked').getBoundingClientRect();"
        "return [box.top, box.bottom, window.innerHeight]"
    )
    assert 0 <= top < bottom <= height


def test_another_function_begins_without_the_details_of_the_one_before(browser, tmp_path):
    same_names(browser, tmp_path)
    find(browser, "#tables tbody tr")[0].click()
    assert "Apply" in browser.find_element("id", "details").text
    chosen = browser.find_element("id", "graphs").get_property("value")
    find(browser, f'#graphs option:not([value="{chosen}"])')[0].click()
    details = browser.find_element("id", "details").text
    assert details == "Click an Apply to see its types, shapes, rates and source line."
    assert find(browser, "tr.picked") == []


def test_what_runs_in_python_is_dashed_also_when_picked(browser, tmp_path):
    same_names(browser, tmp_path)
    find(browser, '#tables tr[data-graph="1"]')[0].click()
    style = "return getComputedStyle(document.querySelector('.node.picked rect')).strokeDasharray"
    assert browser.execute_script(style) != "none"


def test_a_wide_graph_opens_legible_at_its_hottest_apply(browser, tmp_path):
    v = T.dvector("v")
    mode = kroton.ProfileMode().excluding("fusion")
    f = kroton.function([v], [T.exp(v * (i + 2)) for i in range(1000)], mode=mode, name="wide")
    f(np.linspace(0, 1, 6))
    mode.write_html(tmp_path / "wide.html")
    browser.get((tmp_path / "wide.html").as_uri())
    assert browser.execute_script("return view.scale") >= 0.35
    apart = (
        "const a = document.querySelector(selector).getBoundingClientRect();"
        "const b = document.getElementById('picture').getBoundingClientRect();"
        "return [a.left >= b.left, a.right <= b.right, a.top >= b.top, a.bottom <= b.bottom]"
    )
    position = browser.execute_script("return data.tables[0].rows[0][4]")
    selector = f'.node[data-node="{position}"]'
    assert all(browser.execute_script(apart.replace("selector", f"'{selector}'")))
    browser.find_element("id", "fit").click()
    stroke = browser.execute_script(
        "const s = getComputedStyle(document.querySelector('.node.apply:not(.hot) rect'));"
        "return [s.strokeWidth, s.vectorEffect]"
    )
    assert stroke == ["1px", "non-scaling-stroke"]
    no_errors(browser)


def test_tables_of_compilation_begin_with_what_took_longest(browser, tmp_path):
    same_names(browser, tmp_path)
    tables = browser.execute_script("return data.tables")
    for title, column in (("Phases", 1), ("Passes", 1), ("Rules", 2)):
        (rows,) = [t["rows"] for t in tables if t["title"] == title]
        times = [row[column] for row in rows]
        assert times == sorted(times, reverse=True)
