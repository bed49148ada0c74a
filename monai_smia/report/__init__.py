"""From analysis to what people look at: the page, tables, charts, pictures."""
