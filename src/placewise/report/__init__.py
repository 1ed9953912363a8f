"""Reports: plain findings and scores in, text, figures and self-contained pages out.

```
style      colours and the style sheet
glossary   what the scores mean
text       tables for the console
marks      dots, lines and circles, exact to a small part of a pixel
drawing    pictures with dots, contact sheets
figures    curves and bars as PNG
blocks     HTML that escapes everything
html       the page of a run
folder     which folder may be written to
```

Nothing here knows a step: what is shown comes in as arrays, numbers and words.
"""
