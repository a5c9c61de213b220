"""inspect_file_as_text: a document as Markdown-like text, or a language model's answer about it. It knows no file format.

The file is opened in the sandbox (`inside/documents.py`). Images are refused: they are for ocr and visualizer.
"""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, path, text, tool
from tracer1.toolbox.tools._inside import inside

# T3 asks for an answer under three headings, short to long; the wording is ours.
QUESTION = """Below is the content of the file {name}. Answer the question about it under three headings:
### 1. Answer, in as few words as possible
### 2. Answer in detail, with what in the file it rests on
### 3. What else in the file may matter for the question

Question: {question}

Content:
{content}"""


@TOOLS.register("inspect_file_as_text")
@tool(
    "Reads a file as text: pdf, docx, xlsx, pptx, csv, html, xml, json, zip, epub, ipynb, code and plain text; no images.",
    {
        "file_path": path("a file"),
        "question": text("a question about the file; without one the whole text is given", optional=True),
    },
    returns="the text as Markdown, or the answer to the question",
    also="language",
)
def inspect_file_as_text(desk: Desk, file_path: Path, question: str | None = None) -> str:
    """Raises ToolError for a file that cannot be read, and for a question where no language model is configured."""
    model = desk.backends.need("language") if question and question.strip() else None
    read = inside(desk, "documents.as_text", path=file_path)
    content = read["text"] or "(The file holds no text.)"
    if read["cut"]:
        content += f"\n\n(Cut here: the file goes on after these {len(read['text']):,} characters.)"
    if model is None:
        return content
    return model.ask(QUESTION.format(name=file_path.name, question=question, content=content))
