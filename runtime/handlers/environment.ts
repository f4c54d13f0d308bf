/** Text of a variable of the function's environment. Fails where it is missing or empty. */
export function variable(name: string, env: Readonly<Record<string, string | undefined>> = process.env): string {
  const value = env[name];
  if (!value) throw new Error(`the environment variable ${name} is missing`);
  return value;
}
