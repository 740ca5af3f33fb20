import CIVGKernels
import Tensor
import Transformer

/// For pairs of hidden states: what a second product is expected to be under the distribution that the first
/// one defines. Values the next token (CD-Q), and measures divergence.
package final class Expectation: ParallelProgram {
  /// Of one pair, with a = A x, b = B y and p = softmax(a).
  struct Result {
    /// Σ p b
    var mean = 0.0
    /// KL(p ‖ softmax(b)) = Σ p (a − b) − log Σ eᵃ + log Σ eᵇ
    var divergence = 0.0
  }

  private let team: ThreadTeam
  private let kernels = Kernels.current
  private let chunk: Int
  private let width: Int
  private let columns: Int
  private let first: AlignedBuffer<Float>  // [chunk, width]
  private let second: AlignedBuffer<Float>  // [chunk, width]
  private let scratch: AlignedBuffer<Float>  // [workers, scratchCount]
  private let out: AlignedBuffer<Double>  // [2, capacity]
  private let capacity: Int
  private var a: WeightMatrix
  private var b: WeightMatrix
  private var x: UnsafePointer<Float>
  private var y: UnsafePointer<Float>
  private var count = 0
  private let cancel: CancelFlag

  /// Bytes that it takes.
  static func bytes(width: Int, workers: Int, capacity: Int) -> Int {
    2 * chunk(width) * width * 4 + workers * FrozenProduct.scratchCount * 4 + capacity * 16
  }

  private static func chunk(_ width: Int) -> Int { max(1, (32 << 20) / (4 * width)) }

  /// For at most `capacity` pairs and products with matrices of the shape of `matrix`. Throws `.outOfMemory`.
  init(like matrix: WeightMatrix, capacity: Int, team: ThreadTeam, cancel: CancelFlag)
    throws(IVGError)
  {
    self.team = team
    self.cancel = cancel
    self.capacity = capacity
    width = matrix.outputs
    columns = matrix.columns
    chunk = Self.chunk(width)
    first = try AlignedBuffer(count: chunk * width)
    second = try AlignedBuffer(count: chunk * width)
    scratch = try AlignedBuffer(count: team.threadCount * FrozenProduct.scratchCount)
    out = try AlignedBuffer(count: 2 * capacity)
    (a, b) = (matrix, matrix)
    (x, y) = (UnsafePointer(first.pointer), UnsafePointer(first.pointer))
  }

  /// x, y: [count, columns]. Throws `.cancelled`.
  func compute(
    _ a: WeightMatrix, _ x: UnsafePointer<Float>, _ b: WeightMatrix, _ y: UnsafePointer<Float>,
    count: Int
  ) throws(IVGError) -> [Result] {
    precondition(
      count <= capacity && a.outputs == width && b.outputs == width && a.columns == columns
        && b.columns == columns, "other sizes than planned")
    (self.a, self.b, self.x, self.y, self.count) = (a, b, x, y, count)
    team.run(self)
    if cancel.isRaised { throw IVGError(.cancelled, "cancelled") }
    return (0..<count).map {
      Result(mean: out.pointer[2 * $0], divergence: out.pointer[2 * $0 + 1])
    }
  }

  package func run(_ worker: Worker) {
    let own = scratch.pointer + worker.index * FrozenProduct.scratchCount
    for start in stride(from: 0, to: count, by: chunk) {
      let rows = min(chunk, count - start)
      worker.barrier()
      FrozenProduct(matrix: a, kernels: kernels, cancel: cancel).forward(
        x + start * columns, rows: rows, into: first.pointer, adds: false, low: nil, bias: nil,
        scratch: own, worker)
      FrozenProduct(matrix: b, kernels: kernels, cancel: cancel).forward(
        y + start * columns, rows: rows, into: second.pointer, adds: false, low: nil, bias: nil,
        scratch: own, worker)
      worker.barrier()
      for row in worker.share(of: rows) { reduce(row, start + row) }
    }
  }

  private func reduce(_ row: Int, _ place: Int) {
    let table = kernels.table.pointee
    let p = first.pointer + row * width
    let q = second.pointer + row * width
    let total = table.log_sum_exp(p, width)
    let mean = table.expectation(p, q, width, total)
    out.pointer[2 * place] = mean
    out.pointer[2 * place + 1] =
      table.expectation(p, p, width, total) - mean - total + table.log_sum_exp(q, width)
  }
}
