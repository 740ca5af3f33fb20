import CIVGKernels
import Tensor
import Transformer

/// Products of many rows of floats with a frozen, stored matrix, in both directions. Weights are unpacked
/// into panels that stay in the worker's second cache while all rows pass.
struct FrozenProduct {
  let matrix: WeightMatrix  // [outputs, columns]
  let kernels: Kernels
  /// Ends a product early; what it leaves is of no use, and whoever raised the flag says so.
  let cancel: CancelFlag

  /// Terms of a sum that are unpacked together, whole portions of a chain, and panels beside each other.
  private static let depth = 3 * Int(CIVG_CHAIN_TERMS)
  private static let panels = 8

  /// Floats of scratch that a worker needs.
  static var scratchCount: Int { depth * panels * Int(CIVG_PANEL_COLUMNS) }

  /// out [rows, outputs] = x Wᵀ, or added to what `out` holds; this worker's share of the outputs.
  func forward(
    _ x: UnsafePointer<Float>, rows: Int, into out: UnsafeMutablePointer<Float>, adds: Bool,
    low: LowRankTerm?, bias: UnsafePointer<Float>?, scratch: UnsafeMutablePointer<Float>,
    _ worker: Worker
  ) {
    let share = panelShare(matrix.outputs, unit: 1, worker)
    for group in groups(of: share, unit: 1) where !cancel.isRaised {
      let columns = self.columns(of: group, matrix.outputs)
      var first = 0
      while first < matrix.columns {
        let depth = min(Self.depth, matrix.columns - first)
        unpackRows(columns, first: first, depth: depth, into: scratch)
        var product = civg_chain(
          a: x + first, a_row: matrix.columns, a_step: 1, b: scratch,
          b_panel: depth * Int(CIVG_PANEL_COLUMNS), b_step: Int(CIVG_PANEL_COLUMNS),
          out: out + columns.lowerBound, out_stride: matrix.outputs, rows: rows,
          columns: columns.count, depth: depth, continues: adds || first > 0 ? 1 : 0)
        kernels.table.pointee.chain(&product)
        first += depth
      }
      low?.add(to: out, width: matrix.outputs, columns: columns, rows: rows, kernels)
      if let bias {
        for row in 0..<rows {
          kernels.table.pointee.add(
            out + row * matrix.outputs + columns.lowerBound, bias + columns.lowerBound,
            columns.count)
        }
      }
    }
  }

  /// dx [rows, columns] = dy W, or added to what `dx` holds; this worker's share of the columns.
  func backward(
    _ dy: UnsafePointer<Float>, rows: Int, into dx: UnsafeMutablePointer<Float>, adds: Bool,
    low: LowRankTerm?, scratch: UnsafeMutablePointer<Float>, _ worker: Worker
  ) {
    let unit = columnUnit
    for group in groups(of: panelShare(matrix.columns, unit: unit, worker), unit: unit)
    where !cancel.isRaised {
      let columns = self.columns(of: group, matrix.columns)
      var first = 0
      while first < matrix.outputs {
        let depth = min(Self.depth, matrix.outputs - first)
        var view = matrix.civg
        kernels.table.pointee.unpack_columns(
          &view, first, depth, columns.lowerBound, columns.count, scratch)
        var product = civg_chain(
          a: dy + first, a_row: matrix.outputs, a_step: 1, b: scratch,
          b_panel: depth * Int(CIVG_PANEL_COLUMNS), b_step: Int(CIVG_PANEL_COLUMNS),
          out: dx + columns.lowerBound, out_stride: matrix.columns, rows: rows,
          columns: columns.count, depth: depth, continues: adds || first > 0 ? 1 : 0)
        kernels.table.pointee.chain(&product)
        first += depth
      }
      low?.add(to: dx, width: matrix.columns, columns: columns, rows: rows, kernels)
    }
  }

  /// The columns of outputs, or of inputs, that `worker` computes.
  func outputShare(_ worker: Worker) -> Range<Int> {
    columns(of: panelShare(matrix.outputs, unit: 1, worker), matrix.outputs)
  }
  func columnShare(_ worker: Worker) -> Range<Int> {
    columns(of: panelShare(matrix.columns, unit: columnUnit, worker), matrix.columns)
  }

  private func unpackRows(
    _ outputs: Range<Int>, first: Int, depth: Int, into scratch: UnsafeMutablePointer<Float>
  ) {
    let width = Int(CIVG_PANEL_COLUMNS)
    var view = matrix.civg
    var panel = scratch
    for output in stride(from: outputs.lowerBound, to: outputs.upperBound, by: width) {
      kernels.table.pointee.unpack_rows(
        &view, output, min(width, outputs.upperBound - output), first, depth, panel)
      panel += depth * width
    }
  }

  /// Panels that hold whole blocks of a row, whatever the type: products that add to the same columns are
  /// divided alike, so that each worker adds to its own.
  private var columnUnit: Int { matrix.columns % 256 == 0 ? 256 / Int(CIVG_PANEL_COLUMNS) : 1 }

  private func panelShare(_ width: Int, unit: Int, _ worker: Worker) -> Range<Int> {
    let each = unit * Int(CIVG_PANEL_COLUMNS)
    let share = worker.share(of: (width + each - 1) / each)
    return share.lowerBound * unit..<share.upperBound * unit
  }

  /// Runs of panels of about the same length, at most `panels`.
  private func groups(of share: Range<Int>, unit: Int) -> [Range<Int>] {
    guard !share.isEmpty else { return [] }
    let most = max(unit, Self.panels / unit * unit)
    let count = (share.count + most - 1) / most
    let each = ((share.count + count - 1) / count + unit - 1) / unit * unit
    return stride(from: share.lowerBound, to: share.upperBound, by: each).map {
      $0..<min($0 + each, share.upperBound)
    }
  }

  private func columns(of panels: Range<Int>, _ width: Int) -> Range<Int> {
    let each = Int(CIVG_PANEL_COLUMNS)
    return min(panels.lowerBound * each, width)..<min(panels.upperBound * each, width)
  }
}

/// A second, narrow product that joins a frozen one: out += z m, with z [rows, rank] and m [rank, width].
struct LowRankTerm {
  let z: UnsafePointer<Float>
  let stride: Int
  let m: UnsafePointer<Float>
  let rank: Int

  func add(
    to out: UnsafeMutablePointer<Float>, width: Int, columns: Range<Int>, rows: Int,
    continues: Bool = true, _ kernels: Kernels
  ) {
    var product = civg_chain(
      a: z, a_row: stride, a_step: 1, b: m + columns.lowerBound,
      b_panel: Int(CIVG_PANEL_COLUMNS), b_step: width, out: out + columns.lowerBound,
      out_stride: width, rows: rows, columns: columns.count, depth: rank,
      continues: continues ? 1 : 0)
    kernels.table.pointee.chain(&product)
  }
}
