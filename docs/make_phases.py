"""Write docs/phases.md anew from the classifier."""

from pathlib import Path

from results.phases_page import phases_page

DOCS = Path(__file__).parent

if __name__ == "__main__":
    (DOCS / "phases.md").write_text(phases_page(DOCS / "evidence"))
