/**
 * Reads declaration files as a user's editor does, and reports what it would miss: types that the package names and does not
 * export, and members that show nothing on hover. It stands in this workspace for its TypeScript, whose API it needs.
 */
import ts from 'typescript';

export interface PublicTypes {
  /** `Service names Core (service.d.ts)`, for each type of the package that an export names and no entry exports. */
  readonly notExported: readonly string[];
  /** `Service.url (service.d.ts)`, for each export and member without a doc comment. */
  readonly undocumented: readonly string[];
}

/**
 * @param entries Declaration files of the package's exports, as absolute paths.
 * @param root The folder whose files are the package's own.
 */
export function readPublicTypes(entries: readonly string[], root: string): PublicTypes {
  const program = ts.createProgram(entries, {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2023,
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts', 'lib.dom.d.ts'],
    noEmit: true,
    strict: true,
  });
  const checker = program.getTypeChecker();
  const resolved = (symbol: ts.Symbol) =>
    symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  const isOwn = (node: ts.Node) => node.getSourceFile().fileName.startsWith(root);
  const exported = new Map<ts.Symbol, string>();
  for (const entry of entries) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(entry)!)!;
    for (const each of checker.getExportsOfModule(module)) exported.set(resolved(each), each.name);
  }
  const notExported = new Set<string>();
  const undocumented = new Set<string>();
  const placeOf = (node: ts.Node) => node.getSourceFile().fileName.slice(root.length + 1);

  for (const [symbol, name] of exported) {
    for (const declaration of symbol.declarations?.filter(isOwn) ?? []) {
      if (!isDocumented(symbol)) undocumented.add(`${name} (${placeOf(declaration)})`);
      visit(declaration, name);
    }
  }
  return { notExported: [...notExported].toSorted(), undocumented: [...undocumented].toSorted() };

  function visit(node: ts.Node, owner: string): void {
    if (isHidden(node)) return;
    const named = nameIn(node);
    if (named) check(named, owner);
    if (isMember(node)) {
      const member = checker.getSymbolAtLocation(node.name);
      const path = `${owner}.${node.name.getText()}`;
      if (member && !isDocumented(member)) undocumented.add(`${path} (${placeOf(node)})`);
    }
    ts.forEachChild(node, (child) => visit(child, owner));
  }

  function check(name: ts.Node, owner: string): void {
    const found = checker.getSymbolAtLocation(name);
    if (!found) return;
    const symbol = resolved(found);
    if (symbol.flags & ts.SymbolFlags.TypeParameter || exported.has(symbol)) return;
    const declaration = symbol.declarations?.[0];
    if (!declaration || !isOwn(declaration) || !isTopLevel(declaration)) return;
    notExported.add(`${owner} names ${symbol.name} (${placeOf(declaration)})`);
  }

  function isDocumented(symbol: ts.Symbol): boolean {
    return symbol.getDocumentationComment(checker).length > 0 || symbol.getJsDocTags(checker).length > 0;
  }
}

/** Members that no user can reach. */
function isHidden(node: ts.Node): boolean {
  if (ts.canHaveModifiers(node) && ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword)) {
    return true;
  }
  return ts.isPropertyDeclaration(node) && ts.isPrivateIdentifier(node.name);
}

type Member =
  | ts.PropertySignature
  | ts.PropertyDeclaration
  | ts.MethodSignature
  | ts.MethodDeclaration
  | ts.AccessorDeclaration;

/**
 * Members that need a word: those of interfaces, classes and types. A member whose type is one literal (`type: 'start'`) says all
 * by itself, and what is inferred (the fields of a schema, the result of a function) has no comments of its own.
 */
function isMember(node: ts.Node): node is Member & { readonly name: ts.Identifier } {
  const kinds = [
    ts.isPropertySignature,
    ts.isPropertyDeclaration,
    ts.isMethodSignature,
    ts.isMethodDeclaration,
    ts.isAccessor,
  ];
  if (!kinds.some((is) => is(node))) return false;
  if (!ts.isIdentifier((node as Member).name)) return false;
  const { type, initializer } = node as { readonly type?: ts.TypeNode; readonly initializer?: ts.Expression };
  if (initializer || (type && ts.isLiteralTypeNode(type))) return false;
  for (let up = node.parent; up; up = up.parent) {
    if (ts.isParameter(up) || ts.isConditionalTypeNode(up)) return false;
    if (ts.isVariableDeclaration(up) || ts.isFunctionDeclaration(up)) return false;
  }
  return true;
}

/** The name in a reference to a type or a base. */
function nameIn(node: ts.Node): ts.Node | undefined {
  if (ts.isTypeReferenceNode(node)) return node.typeName;
  if (ts.isExpressionWithTypeArguments(node)) return node.expression;
  if (ts.isImportTypeNode(node)) return node.qualifier;
  return undefined;
}

function isTopLevel(node: ts.Node): boolean {
  const statement = ts.isVariableDeclaration(node) ? node.parent.parent : node;
  return ts.isSourceFile(statement.parent);
}
