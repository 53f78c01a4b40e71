"""The page: captioned motions as one self-contained HTML file; its template, style and scripts lie beside this file."""

from m2t_fast.interpretation.page.page import page_bytes, render_page, save_page

__all__ = ["page_bytes", "render_page", "save_page"]
