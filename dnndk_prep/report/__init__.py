"""The report: the facts of all stages as JSON, as Markdown, and as a page of one file."""

from __future__ import annotations

from dnndk_prep.report.facts import Picture, ReportFacts
from dnndk_prep.report.markdown import render, title
from dnndk_prep.report.page import page
from dnndk_prep.report.told import as_json

__all__ = ["Picture", "ReportFacts", "as_json", "page", "render", "title"]
