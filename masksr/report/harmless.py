"""What a page of text, tables and formulas is made of: elements and attributes that run and load nothing."""

# fmt: off
ELEMENTS = frozenset({  # HTML and MathML
    "a", "abbr", "b", "blockquote", "br", "caption", "cite", "code", "col", "colgroup", "dd", "del", "details",
    "dfn", "div", "dl", "dt", "em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img",
    "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "s", "samp", "section", "small", "span", "strong", "style",
    "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "time", "tr", "u", "ul", "var", "wbr",
    "math", "menclose", "merror", "mfrac", "mi", "mmultiscripts", "mn", "mo", "mover", "mpadded", "mphantom",
    "mprescripts", "mroot", "mrow", "ms", "mspace", "msqrt", "mstyle", "msub", "msubsup", "msup", "mtable", "mtd",
    "mtext", "mtr", "munder", "munderover", "none",
})
ATTRIBUTES = frozenset({  # besides aria-*
    "abbr", "align", "alt", "class", "colspan", "datetime", "dir", "headers", "height", "href", "id", "lang",
    "open", "reversed", "role", "rowspan", "scope", "span", "src", "start", "style", "tabindex", "title", "type",
    "value", "width", "xmlns", "accent", "accentunder", "columnalign", "columnlines", "columnspacing", "columnspan",
    "depth", "display", "displaystyle", "fence", "form", "frame", "framespacing", "largeop", "linethickness",
    "lspace", "mathbackground", "mathcolor", "mathsize", "mathvariant", "maxsize", "minsize", "movablelimits",
    "notation", "rowalign", "rowlines", "rowspacing", "rspace", "scriptlevel", "separator", "stretchy", "symmetric",
    "voffset",
})
GONE = frozenset({  # with all that is in them; of other elements that are not above, the text stays
    "script", "iframe", "frame", "frameset", "object", "embed", "applet", "link", "meta", "base", "form", "input",
    "button", "textarea", "select", "option", "video", "audio", "source", "track", "noscript", "template", "title",
    "svg", "canvas", "annotation", "annotation-xml", "noembed", "noframes", "plaintext", "xmp", "portal", "head",
})
# fmt: on
