/**
 * Tools that upstream defines by a type with a date, such as `web_search_20260318`: the name that each must have, and the beta
 * that some need. From the SDK's types of 2026-11. A type that isn't known here goes to upstream as it is written.
 */

/** The name that the API demands for a type; undefined for a set of tools, which has none. */
export function nameOfTyped(type: string): string | undefined {
  if (/toolset(?:_\d{8})?$/.test(type)) return undefined;
  const [, plain, date] = /^(.*?)(?:_(\d{8}))?$/.exec(type)!;
  if (plain !== 'text_editor') return plain;
  return date !== undefined && Number(date) < 20250429 ? 'str_replace_editor' : 'str_replace_based_edit_tool';
}

const betas: Readonly<Record<string, string>> = {
  advisor_20260301: 'advisor-tool-2026-03-01',
  bash_20241022: 'computer-use-2024-10-22',
  computer_20241022: 'computer-use-2024-10-22',
  computer_20250124: 'computer-use-2025-01-24',
  computer_20251124: 'computer-use-2025-11-24',
  mcp_toolset: 'mcp-client-2025-11-20',
  text_editor_20241022: 'computer-use-2024-10-22',
};

/** The betas that tools need, each as it goes to upstream. */
export function betasOfTools(tools: readonly object[]): string[] {
  return tools.flatMap((tool) => ('type' in tool && betas[String(tool.type)]) || []);
}
