/** Texts that make Markdown deep, or its parsers slow: each construct repeated, nested, left open, and cut off. */

const repeated = [
  ...['- ', '+ ', '1. ', '> ', '>', '- > ', '1. - > ', '- [ ] ', '* * ', '    - '],
  ...['*', '**', '_', '*a ', '**a *a ', '_a ', 'a_', '*a_', '***a', '**a_b', '__a', 'a**', '_*~~', '~~a ', '~', '~~~~'],
  ...['[', '![', '[]', '[a](', '![a](', '[a][', '[a', 'a](b', '[a](((((', '[^a]', '[a]: b\n', '[a]:'],
  ...['`', '`a ', '`` ` ', '`a`` ', '*[`', '```\n', '~~~\n', '```a\nb\n', '    a\n'],
  ...[
    '<',
    '<a ',
    '<a>',
    '</',
    '<a b="',
    '<!--',
    '<?',
    '<![CDATA[',
    '<div>\n',
    '<div',
    '<br>',
    '&',
    '&amp;',
    '&#35;',
    '&a',
  ],
  ...[
    '|',
    '|a',
    '|a|b|\n|-|-|\n',
    'a|b\n-|-\n',
    '|-',
    '| a |\n',
    '# ',
    '#\n',
    'a\n=\n',
    'a\n-\n',
    '-',
    '=',
    '---\n',
    '- a\n',
  ],
  ...[
    ' - a\n',
    '> a\n',
    '- a\n\n',
    '1. a\n',
    '\\',
    '\\\\*',
    'a  \n',
    'a\\\n',
    '\n',
    ' ',
    '\t',
    ':',
    '"',
    'a',
    'é',
    '👩‍👩‍👧',
  ],
  ...[
    'http://a',
    'http://',
    'https://a.b/(',
    'www.',
    'a@',
    'a@a.',
    'mailto:',
    '\u0000',
    '\r',
    '\r\n',
    '\u2028',
    '\ud83d',
  ],
] as const;

const pairs: readonly (readonly [string, string])[] = [
  ['*a ', ' b*'],
  ['**a ', ' b**'],
  ['_a ', ' b_'],
  ['~~a ', ' b~~'],
  ['`', '`'],
  ['(', ')'],
  ['<', '>'],
  ['[', '](b)'],
  ['![', '](b)'],
  ['[![', '](b)](c)'],
  ['[', '][a]'],
  ['<b>', '</b>'],
  ['> ', '\n'],
  ['- ', '\n'],
];

/** @param chars About how long each text is. */
export function hostileMarkdown(chars: number): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  const times = (text: string, count: number) => text.repeat(Math.max(1, Math.floor(count)));
  for (const each of repeated) {
    for (const tail of ['', 'x', '\n\nx']) {
      texts.set(
        `${JSON.stringify(each)} again and again, then ${JSON.stringify(tail)}`,
        times(each, chars / each.length) + tail,
      );
    }
  }
  for (const [open, close] of pairs) {
    const count = chars / (open.length + close.length);
    texts.set(`${JSON.stringify([open, close])} nested`, `${times(open, count)}x${times(close, count)}`);
  }
  const steps = (line: (depth: number) => string) => {
    let text = '';
    for (let depth = 0; text.length < chars; depth += 1) text += line(depth);
    return text;
  };
  texts.set(
    'a list that goes in by a step each line',
    steps((depth) => `${'  '.repeat(depth)}- a\n`),
  );
  texts.set(
    'a numbered list likewise',
    steps((depth) => `${'   '.repeat(depth)}1. a\n`),
  );
  texts.set(
    'code in such a list',
    steps((depth) => `${'  '.repeat(depth)}- \`\`\`\n${'  '.repeat(depth + 1)}a\n`),
  );
  texts.set(
    'a quote that goes in by a step each line',
    steps((depth) => `${'>'.repeat(depth + 1)} a\n`),
  );
  texts.set(
    'runs of backticks, each longer',
    steps((depth) => `${'`'.repeat(depth)} a `),
  );
  texts.set(
    'runs of stars, each longer',
    steps((depth) => `${'*'.repeat(depth)}a`),
  );
  const columns = chars / 8;
  const wide = `|${times('a|', columns)}\n|${times('-|', columns)}\n`;
  texts.set('a table of many columns, and many rows that lack them', wide + times('|\n', chars / 4));
  texts.set('a table in a quote likewise', `> ${wide.replace('\n', '\n> ')}`.trimEnd() + times('\n> |', chars / 6));
  texts.set('a table whose cells are emphasized', `|a|b|\n|-|-|\n${times('|**a|_b|\n', chars / 9)}`);
  return texts;
}
