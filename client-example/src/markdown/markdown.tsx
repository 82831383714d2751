/**
 * Markdown as React elements. No HTML gets through: HTML that the model writes is shown as text, images become links,
 * and links lead only to the web. A settled block is never rendered again. A block that can't be shown as Markdown is
 * shown as plain text.
 */
import type { Token } from 'markdown-it';
import { memo, useEffect, useMemo, useState, type ReactNode } from 'react';
import { CopyButton } from '../page/copy-button.tsx';
import { createBlockGrower, mendBlock } from './blocks.ts';
import { parseBlock } from './parser.ts';

/** If a long text is there at once, each frame shows this many more characters. */
const stepChars = 32_000;

export const Markdown = memo(function Markdown({ text, growing }: { text: string; growing: boolean }) {
  const [grow] = useState(createBlockGrower);
  const [charsMax, setCharsMax] = useState(stepChars);
  const partial = charsMax < text.length;
  useEffect(() => {
    if (!partial) return undefined;
    const step = () => {
      setCharsMax((before) => before + stepChars);
      frame = requestAnimationFrame(step);
    };
    let frame = requestAnimationFrame(step);
    return () => cancelAnimationFrame(frame);
  }, [partial]);
  const { settled, open } = grow(partial ? text.slice(0, charsMax) : text);
  // The position is the key, because blocks are only ever added at the end.
  return (
    <div className="markdown">
      {settled.map(({ raw, continued }, at) => (
        <BlockView key={at} raw={raw} continued={continued} growing={false} />
      ))}
      <BlockView key={settled.length} raw={open.raw} continued={open.continued} growing={growing || partial} />
    </div>
  );
});

interface BlockViewProps {
  readonly raw: string;
  readonly continued: boolean;
  readonly growing: boolean;
}

const BlockView = memo(function BlockView({ raw, continued, growing }: BlockViewProps) {
  const tokens = useMemo(() => parseBlock(growing ? mendBlock(raw) : raw), [raw, growing]);
  return (
    <div className="block" data-continued={continued}>
      {tokens ? elementsOf(tokens) : <PlainText text={raw} />}
    </div>
  );
});

/** Text that can't be shown as Markdown. */
export function PlainText({ text }: { text: string }) {
  return <p className="plain">{pieces(text.trimEnd())}</p>;
}

/** An element whose content is still being read. */
interface OpenElement {
  readonly token: Token;
  readonly children: ReactNode[];
}

/**
 * markdown-it returns one flat list, in which tokens open and close elements. So deep nesting needs no recursion here.
 */
function elementsOf(tokens: readonly Token[]): ReactNode[] {
  const root: ReactNode[] = [];
  const open: OpenElement[] = [];
  const add = (node: ReactNode) => void (open.at(-1)?.children ?? root).push(node);
  const read = (token: Token) => {
    if (token.type === 'inline') {
      for (const child of withTask(token, open)) read(child);
    } else if (token.nesting === 1) open.push({ token, children: [] });
    else if (token.nesting === 0) add(<Leaf key={keyIn(open, root)} token={token} />);
    else {
      const { token: opened, children } = open.pop()!;
      add(
        <Element key={keyIn(open, root)} token={opened}>
          {children}
        </Element>,
      );
    }
  };
  tokens.forEach(read);
  return root;
}

function keyIn(open: readonly OpenElement[], root: readonly ReactNode[]): number {
  return (open.at(-1)?.children ?? root).length;
}

function Element({ token, children }: { token: Token; children: ReactNode }): ReactNode {
  switch (token.type) {
    case 'paragraph_open':
      // markdown-it hides the paragraphs of a list that has no blank lines between its items.
      return token.hidden ? <span>{children}</span> : <p>{children}</p>;
    case 'heading_open':
      // All headings have one level: answers skip levels, and the outline of the page must not.
      return <h3 data-depth={token.tag.slice(1)}>{children}</h3>;
    case 'blockquote_open':
      return <blockquote>{children}</blockquote>;
    case 'bullet_list_open':
      return <ul>{children}</ul>;
    case 'ordered_list_open':
      return <ol start={Number(token.attrGet('start') ?? 1)}>{children}</ol>;
    case 'list_item_open':
      return <li>{children}</li>;
    case 'table_open':
      return (
        <div className="table" tabIndex={0}>
          <table>{children}</table>
        </div>
      );
    case 'thead_open':
      return <thead>{children}</thead>;
    case 'tbody_open':
      return <tbody>{children}</tbody>;
    case 'tr_open':
      return <tr>{children}</tr>;
    case 'th_open':
      return <th data-align={alignOf(token)}>{children}</th>;
    case 'td_open':
      return <td data-align={alignOf(token)}>{children}</td>;
    case 'strong_open':
      return <strong>{children}</strong>;
    case 'em_open':
      return <em>{children}</em>;
    case 's_open':
      return <del>{children}</del>;
    case 'link_open':
      return <Link href={String(token.attrGet('href'))}>{children}</Link>;
    default:
      return children;
  }
}

function Leaf({ token }: { token: Token }): ReactNode {
  switch (token.type) {
    case 'fence':
    case 'code_block':
      return <CodeBlock code={token.content.replace(/\n$/, '')} language={/^\S*/.exec(token.info)![0]} />;
    case 'code_inline':
      return <code>{token.content}</code>;
    case 'hr':
      return <hr />;
    case 'softbreak':
      return '\n';
    case 'hardbreak':
      return <br />;
    case 'image':
      return <Link href={String(token.attrGet('src'))}>{token.content || 'image'}</Link>;
    case 'task':
      return (
        <input
          type="checkbox"
          checked={token.content !== ' '}
          disabled
          aria-label={token.content === ' ' ? 'to do' : 'done'}
        />
      );
    default:
      return pieces(token.content);
  }
}

/** A text that begins with `[x] ` at the start of a list item becomes a checkbox. */
function withTask({ children }: Token, open: readonly OpenElement[]): readonly Token[] {
  const [first, ...others] = children ?? [];
  const item = open.at(-2);
  const box = /^\[([ xX])\]\s/.exec(first?.type === 'text' ? first.content : '');
  if (!first || !box || item?.token.type !== 'list_item_open' || item.children.length > 0) return children ?? [];
  return [
    Object.assign(Object.create(first) as Token, { type: 'task', content: box[1] }),
    Object.assign(Object.create(first) as Token, { content: first.content.slice(box[0].length) }),
    ...others,
  ];
}

function alignOf(token: Token): string | undefined {
  return /text-align:(\w+)/.exec(token.attrGet('style') ?? '')?.[1];
}

function Link({ href, children }: { href: string; children: ReactNode }) {
  // Any other address is an incomplete link, or one that must not be followed.
  if (!/^(https?:|mailto:)/i.test(href)) return <span className="link">{children}</span>;
  return (
    <a href={href} target="_blank" rel="noreferrer noopener">
      {children}
    </a>
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

/**
 * Cuts a long text into several text nodes, so that the browser doesn't have to shape all of it again when its end
 * grows.
 */
export function pieces(text: string): ReactNode {
  if (text.length <= pieceChars) return text;
  const cut: string[] = [];
  let start = 0;
  while (start < text.length) {
    // Between words, because ligatures and accents don't work across text nodes.
    const space = text.lastIndexOf(' ', start + pieceChars);
    const end = text.length - start <= pieceChars ? text.length : space > start ? space + 1 : start + pieceChars;
    cut.push(text.slice(start, end));
    start = end;
  }
  return cut;
}
