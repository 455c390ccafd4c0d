"""Pictures of graphs: layout and files."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kroton
import kroton.tensor as T
from kroton.picture import layered, scene_of


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 40))
    sizes = draw(st.lists(st.tuples(st.floats(10, 200), st.floats(10, 60)), min_size=n, max_size=n))
    edges = [] if n == 1 else draw(
        st.lists(
            st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] < e[1]),
            max_size=80,
        )
    )  # fmt: skip
    return sizes, edges


@given(graphs())
def test_nodes_do_not_overlap_and_edges_go_down(graph):
    sizes, edges = graph
    layout = layered(sizes, edges)
    for a, b in edges:
        assert layout.y[a] + sizes[a][1] / 2 < layout.y[b] - sizes[b][1] / 2
    for i in range(len(sizes)):
        for j in range(i):
            apart_x = abs(layout.x[i] - layout.x[j]) >= (sizes[i][0] + sizes[j][0]) / 2 - 1e-6
            apart_y = abs(layout.y[i] - layout.y[j]) >= (sizes[i][1] + sizes[j][1]) / 2 - 1e-6
            assert apart_x or apart_y
    for k, (w, h) in enumerate(sizes):
        assert w / 2 <= layout.x[k] <= layout.width - w / 2
        assert h / 2 <= layout.y[k] <= layout.height - h / 2


def test_a_cycle_is_refused():
    with pytest.raises(ValueError, match="cycle"):
        layered([(1, 1), (1, 1)], [(0, 1), (1, 0)])


def test_a_large_graph_has_layers_of_limited_width():
    n = 2000
    edges = [(0, k) for k in range(1, n - 1)] + [(k, n - 1) for k in range(1, n - 1)]
    layout = layered([(60, 24)] * n, edges)
    assert layout.width < 10_000


@pytest.fixture
def function():
    x = T.dvector("x")
    w = kroton.shared(np.ones(3), name="w")
    return kroton.function([x], [T.exp(x * w).sum(), x + 1], name="f")


def test_every_apply_input_and_output_is_drawn(function):
    scene = scene_of(function)
    kinds = [node.kind for node in scene.nodes]
    assert kinds.count("apply") == len(function.maker.linked.order)
    assert kinds.count("output") == 2
    assert kinds.count("shared") == 1
    assert kinds.count("input") == 1


@pytest.mark.parametrize("what", ["function", "fgraph", "variable", "apply", "list"])
def test_graphs_of_every_kind_are_drawn(function, what):
    x = T.exp(T.dvector("x"))
    obj = {
        "function": function, "fgraph": function.maker.fgraph, "variable": x, "apply": x.owner,
        "list": [x, x * 2],
    }[what]  # fmt: skip
    assert any(node.kind == "apply" for node in scene_of(obj).nodes)


def test_what_is_no_graph_is_refused():
    with pytest.raises(TypeError, match="not of int"):
        scene_of(3)


def test_svg_is_well_formed(function, tmp_path, capsys):
    kroton.printing.pydotprint(function, tmp_path / "f.svg")
    root = ElementTree.parse(tmp_path / "f.svg").getroot()
    drawn = root.findall(".//{http://www.w3.org/2000/svg}rect")
    assert len(drawn) == len(scene_of(function).nodes)
    assert "f.svg" in capsys.readouterr().out


def test_dot_and_html_need_nothing_else(function, tmp_path):
    kroton.printing.pydotprint(function, tmp_path / "f.dot", print_output_file=False)
    text = (tmp_path / "f.dot").read_text()
    assert text.startswith("digraph {")
    assert text.count("->") == len(scene_of(function).edges)
    kroton.printing.pydotprint(function, tmp_path / "f.html", print_output_file=False)
    assert "<!DOCTYPE html>" in (tmp_path / "f.html").read_text()


def test_png_says_that_it_needs_graphviz(function, tmp_path, monkeypatch):
    monkeypatch.setattr("kroton.picture.files.which", lambda name: None)
    with pytest.raises(RuntimeError, match="needs Graphviz"):
        kroton.printing.pydotprint(function, tmp_path / "f.png")


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_png_is_rendered_by_graphviz(function, tmp_path):
    kroton.printing.pydotprint(function, tmp_path / "f.png", print_output_file=False)
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def labels(path):
    root = ElementTree.parse(path).getroot()
    return [text.text for text in root.findall(".//{http://www.w3.org/2000/svg}text")]


def test_the_lineages_keywords_of_pydotprint_change_the_labels(function, tmp_path):
    path = tmp_path / "f.svg"

    def drawn(**options):
        kroton.printing.pydotprint(function, path, print_output_file=False, **options)
        return labels(path)

    plain = drawn(compact=True)
    assert "w" in plain
    order = function.maker.linked.order
    numbered = drawn(with_ids=True, max_label_size=1000)
    assert {f"{k} {node.op}" for k, node in enumerate(order)} <= set(numbered)
    typed = drawn(var_with_name_simple=False, max_label_size=1000)
    assert any(text.startswith("w: TensorType(float64") for text in typed)
    assert max(map(len, drawn(max_label_size=5))) == 5
    with pytest.raises(ValueError, match="compact=False"):
        drawn(compact=False)


def test_pictures_are_found_where_the_lineage_has_them(function, tmp_path):
    from kroton.d3viz.d3viz import d3viz, d3write

    assert kroton.d3viz.d3viz is d3viz
    d3viz(function, tmp_path / "f.html", copy_deps=False)
    assert "<!DOCTYPE html>" in (tmp_path / "f.html").read_text()
    d3write(function, tmp_path / "f.dot")
    assert (tmp_path / "f.dot").read_text().startswith("digraph {")
