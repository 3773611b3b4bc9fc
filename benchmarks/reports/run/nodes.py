"""What a report says of the nodes that the parts of a run were made on."""

from benchmarks.analysis.between_runs import parts
from benchmarks.bundle.reader import Bundle
from benchmarks.reports.formats import number


def notes(bundle: Bundle) -> list[str]:
    """The parts that are missing, the nodes that are off, and what intervals cover."""
    run = bundle.environment.run
    if not run.seeds:
        return []
    nodes = bundle.nodes
    said = []
    if missing := run.launches - run.finished_launches:
        said.append(f"Launches that are missing: {missing} of {run.launches}.")
    if unknown := run.finished_launches - len(nodes):
        said.append(f"Of {unknown} launches it is not known on which node they were made.")
    if nodes.nunique() > 1:
        said.append(
            f"Intervals are over {nodes.nunique()} nodes of one kind: the launches of a node count "
            "as one value."
        )
    elif nodes.size and not unknown:
        said.append("All launches ran on one node: how nodes differ is in no interval.")
    said += [
        f"{node} is unlike the others: its steps take {number(times, '.2f')} times as long."
        for node, times in parts.off_nodes(bundle).items()
    ]
    return said
