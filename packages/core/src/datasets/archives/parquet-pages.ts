/** The page headers of a parquet row group, looked at before anything is decoded. */
import type { ColumnMetaData, DataReader, PageHeader, RowGroup } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';

/** Bytes that a page header is first looked for in; with long statistics it takes more. */
const HEADER_BYTES = 4096;

type Slice = (start: number, end: number) => Promise<ArrayBuffer>;

/**
 * Refuses sizes and numbers of values that cannot be: the decoders trust them, and some do not end with wrong ones.
 * @param columns only these top-level columns; default: all
 * @param pageBytes most bytes of a page, unpacked
 * @throws Error with what is wrong
 */
export async function checkPages(
  slice: Slice,
  group: RowGroup,
  columns: readonly string[] | undefined,
  pageBytes: number,
): Promise<void> {
  for (const { meta_data: column } of group.columns) {
    if (!column || (columns && !columns.includes(column.path_in_schema[0]!))) continue;
    let offset = Number(column.dictionary_page_offset || column.data_page_offset);
    const end = offset + Number(column.total_compressed_size);
    let values = 0;
    // As many as the decoder reads: it stops one byte before the end, too.
    while (offset < end - 1 && values < column.num_values) {
      const { header, bytes } = await headerAt(slice, offset, end);
      offset += bytes;
      values += checkHeader(header, column, end - offset, pageBytes);
      offset += header.compressed_page_size;
    }
  }
}

async function headerAt(
  slice: Slice,
  start: number,
  end: number,
): Promise<{ header: PageHeader; bytes: number }> {
  for (let length = HEADER_BYTES; ; length *= 16) {
    const view = new DataView(await slice(start, Math.min(end, start + length)));
    const reader: DataReader = { view, offset: 0 };
    try {
      return { header: parquetHeader(reader), bytes: reader.offset };
    } catch (error) {
      if (start + length >= end) throw error;
    }
  }
}

/** @returns the number of values of a data page; 0 for other pages */
function checkHeader(page: PageHeader, column: ColumnMetaData, room: number, pageBytes: number): number {
  const packed = within('compressed size', page.compressed_page_size, room);
  const unpacked = within('size', page.uncompressed_page_size, pageBytes);
  const most = Number(column.num_values);
  // A dictionary may hold more than the column uses; an entry takes a bit or more.
  if (page.dictionary_page_header)
    within('size of the dictionary', page.dictionary_page_header.num_values, 8 * unpacked);
  const v2 = page.data_page_header_v2;
  if (page.type === 'DATA_PAGE_V2' && v2) {
    const values = within('number of values', v2.num_values, most);
    within('number of nulls', v2.num_nulls, values);
    within('number of rows', v2.num_rows, values);
    const levels = within('repetition levels', v2.repetition_levels_byte_length, packed);
    within('definition levels', v2.definition_levels_byte_length, packed - levels);
    return values;
  }
  if (page.type === 'DATA_PAGE') return within('number of values', page.data_page_header?.num_values, most);
  return 0;
}

function within(what: string, value: number | undefined, most: number): number {
  if (value !== undefined && Number.isInteger(value) && value >= 0 && value <= most) return value;
  throw new Error(`a page states the ${what} ${value}, at most ${most} can be`);
}
