/** How a feature group may change: the one rule that synth, the tables' handler and the lock file ask. */
import { offlineColumns, OfflineTableColumn } from './offline-table';
import { OfflineGroup } from './offline-tables-resource';

/** What became of a group: its entity keys, and the columns of its table. */
export interface GroupChanges {
  /** New at the end: null in every row that is there. */
  readonly added: readonly OfflineTableColumn[];
  /** Breaks whoever reads them: only a new version of the group may. */
  readonly dropped: readonly string[];
  /** Breaks readers and rows that are there: only a new version of the group may. */
  readonly retyped: readonly { readonly name: string; readonly before: string; readonly after: string }[];
  /** Other keys, or in another order, which is that of the parts of every online key: nobody would find the rows that are there, or finds another's. */
  readonly rekeyed?: { readonly before: readonly string[]; readonly after: readonly string[] };
  /** Columns, and no keys, that every row needs and the rows that are there have no value for. */
  readonly lacking: readonly string[];
}

/** A column as somebody knows it; the types need only be comparable with each other. */
export interface KnownColumn {
  readonly name: string;
  readonly type: string;
}

/** A group as somebody knows it. */
export interface KnownGroup {
  /** Names, in their order. */
  readonly entityKeys: readonly string[];
  readonly columns: readonly KnownColumn[];
}

/** A group as the lock knows it. */
export function knownGroup(group: OfflineGroup): KnownGroup {
  return { entityKeys: keysOf(group), columns: offlineColumns(group) };
}

/** Compares what is there with what is wanted. @param typeOf the type of a wanted column, in the words in which the known ones are */
export function groupChanges(
  before: KnownGroup, group: OfflineGroup, typeOf: (column: OfflineTableColumn) => string = ({ type }) => type,
): GroupChanges {
  const [after, keys] = [offlineColumns(group), keysOf(group)];
  const known = new Map(before.columns.map(({ name, type }) => [name, type]));
  const wanted = new Set(after.map(({ name }) => name));
  const fresh = after.filter(({ name }) => !known.has(name));
  const rekeyed = before.entityKeys.join() !== keys.join();
  return {
    added: fresh.filter(({ required }) => !required),
    lacking: fresh.filter(({ name, required }) => required && !keys.includes(name)).map(({ name }) => name),
    dropped: before.columns.filter(({ name }) => !wanted.has(name)).map(({ name }) => name),
    retyped: after.flatMap((column) => {
      const type = known.get(column.name);
      return type === undefined || type === typeOf(column) ? [] : [{ name: column.name, before: type, after: typeOf(column) }];
    }),
    ...rekeyed ? { rekeyed: { before: before.entityKeys, after: keys } } : {},
  };
}

/** What the changes break, in words; undefined where they only add. */
export function breakage({ dropped, retyped, rekeyed, lacking }: GroupChanges): string | undefined {
  const parts = [
    ...dropped.length > 0 ? [`drops ${dropped.join(', ')}`] : [],
    ...retyped.length > 0 ? [`retypes ${retyped.map(({ name, before, after }) => `${name} from ${before} to ${after}`).join(', ')}`] : [],
    ...lacking.length > 0 ? [`needs ${lacking.join(', ')} in every row`] : [],
    ...rekeyed ? [`changes its entity keys from (${rekeyed.before.join(', ')}) to (${rekeyed.after.join(', ')})`] : [],
  ];
  return parts.length === 0 ? undefined : parts.join(', ');
}

const keysOf = ({ entityKeys }: OfflineGroup) => entityKeys.map(({ name }) => name);
