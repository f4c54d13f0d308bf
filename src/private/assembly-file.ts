import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { attachCustomSynthesis } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { Paths } from '../contract';

/**
 * Writes a file into the cloud assembly of the scope's stage, at `thalos-brain/<path>`, when that is synthesized.
 * One file per scope: a scope holds one custom synthesis.
 */
export function writeToAssembly(scope: Construct, path: string[], content: () => string): void {
  attachCustomSynthesis(scope, {
    onSynthesize: (session) => {
      const file = join(session.outdir, Paths.ASSEMBLY, ...path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content());
    },
  });
}

/** A resolved template value as reviewers read it: `<<LogicalId.Attr>>` for what CloudFormation fills in. */
export function withPlaceholders(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withPlaceholders);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value);
  if (entries.length === 1 && (entries[0][0] === 'Ref' || entries[0][0].startsWith('Fn::'))) {
    return placeholder(entries[0][0], entries[0][1]);
  }
  return Object.fromEntries(entries.map(([key, inner]) => [key, withPlaceholders(inner)]));
}

function placeholder(intrinsic: string, argument: any): unknown {
  switch (intrinsic) {
    case 'Ref':
      return `<<${argument}>>`;
    case 'Fn::GetAtt':
      return `<<${[argument].flat().join('.')}>>`;
    case 'Fn::Join':
      return Array.isArray(argument[1]) ? argument[1].map(withPlaceholders).join(argument[0]) : other(intrinsic, argument);
    case 'Fn::Sub':
      return typeof argument === 'string' ? argument.replace(/\$\{([^}!]+)\}/g, '<<$1>>') : other(intrinsic, argument);
    case 'Fn::ImportValue':
      return `<<${withPlaceholders(argument)}>>`;
    default:
      return other(intrinsic, argument);
  }
}

const other = (intrinsic: string, argument: unknown) => `<<${intrinsic} ${JSON.stringify(argument)}>>`;
