"""Does any module need itself before it is loaded? Imports inside functions count as well."""

from graphlib import TopologicalSorter

import grimp


def test_no_modules_import_each_other() -> None:
    graph = grimp.build_graph("reefl_edge", "reefl_export")
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}

    order = list(TopologicalSorter(imports).static_order())

    assert len(order) == len(graph.modules)
