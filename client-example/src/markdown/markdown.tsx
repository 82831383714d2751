/**
 * Markdown as React elements. No HTML passes: what the model writes as HTML is shown as it was written, images are
 * links, and links lead nowhere but to the web. A block that has settled is never rendered again.
 */
import { marked, type MarkedToken, type Token, type Tokens } from 'marked';
import { memo, useMemo, useState, type ReactNode } from 'react';
import { CopyButton } from '../page/copy-button.tsx';
import { createBlockGrower, mendBlock, type Block } from './blocks.ts';

export const Markdown = memo(function Markdown({ text, growing }: { text: string; growing: boolean }) {
  const [grow] = useState(createBlockGrower);
  const { settled, open } = grow(text);
  // A key per place: blocks only ever join at the end.
  return (
    <div className="markdown">
      {settled.map(({ raw, continued }, at) => (
        <BlockView key={at} raw={raw} continued={continued} />
      ))}
      <BlockView key={settled.length} raw={growing ? mendBlock(open.raw) : open.raw} continued={open.continued} />
    </div>
  );
});

const BlockView = memo(function BlockView({ raw, continued }: Block) {
  const tokens = useMemo(() => marked.lexer(raw), [raw]);
  return (
    <div className="block" data-continued={continued}>
      {blocksOf(tokens)}
    </div>
  );
});

function blocksOf(tokens: readonly Token[]): ReactNode {
  return tokens.map((token, at) => <BlockToken key={at} token={token as MarkedToken} />);
}

function BlockToken({ token }: { token: MarkedToken }): ReactNode {
  switch (token.type) {
    case 'paragraph':
      return <p>{inlinesOf(token.tokens)}</p>;
    case 'heading':
      // One level for all: answers skip levels, and the page's outline must not.
      return <h3 data-depth={token.depth}>{inlinesOf(token.tokens)}</h3>;
    case 'code':
      return <CodeBlock code={token.text} language={/^\S*/.exec(token.lang ?? '')![0]} />;
    case 'blockquote':
      return <blockquote>{blocksOf(token.tokens ?? [])}</blockquote>;
    case 'list': {
      const items = token.items.map((item: Tokens.ListItem, at: number) => <li key={at}>{blocksOf(item.tokens)}</li>);
      return token.ordered ? <ol start={Number(token.start) || 1}>{items}</ol> : <ul>{items}</ul>;
    }
    case 'checkbox':
      return <input type="checkbox" checked={token.checked} disabled aria-label={token.checked ? 'done' : 'to do'} />;
    case 'table':
      return <Table table={token} />;
    case 'hr':
      return <hr />;
    case 'html':
      return <p>{token.text}</p>;
    case 'text':
      return <span>{'tokens' in token && token.tokens ? inlinesOf(token.tokens) : pieces(token.text)}</span>;
    default:
      return null;
  }
}

function inlinesOf(tokens: readonly Token[] | undefined): ReactNode {
  return tokens?.map((token, at) => <InlineToken key={at} token={token as MarkedToken} />);
}

function InlineToken({ token }: { token: MarkedToken }): ReactNode {
  switch (token.type) {
    case 'strong':
      return <strong>{inlinesOf(token.tokens)}</strong>;
    case 'em':
      return <em>{inlinesOf(token.tokens)}</em>;
    case 'del':
      return <del>{inlinesOf(token.tokens)}</del>;
    case 'codespan':
      return <code>{token.text}</code>;
    case 'br':
      return <br />;
    case 'link':
      return <Link href={token.href}>{inlinesOf(token.tokens)}</Link>;
    case 'image':
      return <Link href={token.href}>{token.text || 'image'}</Link>;
    case 'checkbox':
      return <BlockToken token={token} />;
    case 'escape':
    case 'text':
      return 'tokens' in token && token.tokens ? inlinesOf(token.tokens) : pieces(token.text);
    default:
      return token.raw;
  }
}

function Link({ href, children }: { href: string; children: ReactNode }) {
  // Anything else is no link yet, or nothing to follow.
  if (!/^(https?:|mailto:)/i.test(href)) return <span className="link">{children}</span>;
  return (
    <a href={href} target="_blank" rel="noreferrer noopener">
      {children}
    </a>
  );
}

function Table({ table: { header, rows, align } }: { table: Tokens.Table }) {
  const alignOf = (at: number) => ({ 'data-align': align[at] ?? undefined });
  return (
    <div className="table" tabIndex={0}>
      <table>
        <thead>
          <tr>
            {header.map((cell, at) => (
              <th key={at} {...alignOf(at)}>
                {inlinesOf(cell.tokens)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, rowAt) => (
            <tr key={rowAt}>
              {row.map((cell, at) => (
                <td key={at} {...alignOf(at)}>
                  {inlinesOf(cell.tokens)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function CodeBlock({ code, language }: { code: string; language: string }) {
  return (
    <figure className="code">
      <figcaption>
        <span>{language || 'text'}</span>
        <CopyButton text={code} label="Copy code" />
      </figcaption>
      <pre tabIndex={0}>
        <code>{pieces(code)}</code>
      </pre>
    </figure>
  );
}

const pieceChars = 2_000;

/** A long text as several text nodes, so that the browser need not shape all of it anew when its end grows. */
function pieces(text: string): ReactNode {
  if (text.length <= pieceChars) return text;
  const cut: string[] = [];
  let start = 0;
  while (start < text.length) {
    // Between words, since ligatures and accents don't reach across nodes.
    const space = text.lastIndexOf(' ', start + pieceChars);
    const end = text.length - start <= pieceChars ? text.length : space > start ? space + 1 : start + pieceChars;
    cut.push(text.slice(start, end));
    start = end;
  }
  return cut;
}
