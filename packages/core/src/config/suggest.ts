/** Nearest names, for error messages. */

/** Edit distance with transpositions of neighbours. */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, before[j - 2]! + 1);
      row.push(best);
    }
    before = last;
    last = row;
  }
  return last[b.length]!;
}

/** The candidate nearest to a name, or undefined if none is near enough to be a slip of the pen. */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  const plain = (s: string) => s.toLowerCase().replaceAll('-', '_');
  const wanted = plain(name.slice(0, 200));
  let best: string | undefined;
  let bestScore = Math.max(1, Math.floor(wanted.length * 0.4)) + 0.5;
  for (const candidate of candidates) {
    const other = plain(candidate);
    let score = editDistance(wanted, other);
    // A name that was cut short or grew a suffix (knn, knn_k) is nearer than its length difference says.
    if (
      score > 1 &&
      Math.min(wanted.length, other.length) >= 3 &&
      (other.startsWith(wanted) || wanted.startsWith(other))
    )
      score = Math.min(score, 1.25);
    if (score < bestScore) {
      best = candidate;
      bestScore = score;
    }
  }
  return best;
}

/** ` (did you mean "x"?)`, or a list of what there is, or nothing. */
export function didYouMean(name: string, candidates: readonly string[], listUpTo = 8): string {
  const near = nearest(name, candidates);
  if (near !== undefined) return ` (did you mean "${near}"?)`;
  if (candidates.length > 0 && candidates.length <= listUpTo) return ` (there is: ${candidates.join(', ')})`;
  return '';
}
