import Tensor

/// A tensor cut into chunks of a bounded number of elements: some whole rows of one expert, or a part of a row.
struct TensorDivision {
  let columns: Int
  /// Rows of one expert; of a matrix, all.
  let rows: Int
  /// Matrices behind each other.
  let experts: Int
  private let rowsPerChunk: Int
  private let chunksPerExpert: Int
  /// Parts of each row; 1 where chunks hold whole rows.
  private let parts: Int
  private let partColumns: Int

  /// Some rows, or a part of one.
  struct Chunk {
    /// Counted through all experts.
    let firstRow: Int
    let rowCount: Int
    let firstColumn: Int
    let columnCount: Int
    let expert: Int

    var elements: Int { rowCount * columnCount }

    func byteCount(_ type: TensorType) -> Int {
      elements / type.blockElements * type.blockBytes
    }

    /// Where it begins among rows of `columns`.
    func byteOffset(_ type: TensorType, _ columns: Int) -> Int {
      (firstRow * columns + firstColumn) / type.blockElements * type.blockBytes
    }
  }

  /// elements: the most of a chunk, a multiple of every type's block.
  init(_ tensor: GGUFTensor, elements: Int) {
    columns = tensor.columns
    rows = tensor.shape.count > 1 ? tensor.shape[1] : 1
    experts = tensor.rows / rows
    rowsPerChunk = max(1, elements / columns)
    parts = (columns - 1) / elements + 1
    partColumns = min(columns, elements)
    chunksPerExpert = ((rows - 1) / rowsPerChunk + 1) * parts
  }

  var count: Int { chunksPerExpert * experts }

  /// Elements of the largest chunk.
  var largest: Int { min(rowsPerChunk, rows) * partColumns }

  subscript(_ index: Int) -> Chunk {
    let expert = index / chunksPerExpert
    let within = index % chunksPerExpert
    let row = within / parts * rowsPerChunk
    let column = within % parts * partColumns
    return Chunk(
      firstRow: expert * rows + row, rowCount: min(rowsPerChunk, rows - row), firstColumn: column,
      columnCount: min(partColumns, columns - column), expert: expert)
  }
}
