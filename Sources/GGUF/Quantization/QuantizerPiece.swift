import Tensor

/// Some chunks of a tensor, which all threads of a team turn into its new type.
///
/// A chunk is some whole rows, or a part of a long one: blocks do not know of each other, so how a tensor is
/// divided changes nothing.
final class QuantizerPiece: ParallelProgram {
  /// Elements of a chunk, at most: a multiple of every block.
  static let chunkElements = 1 << 16

  /// Where the tensor's numbers come from, and what they become.
  struct Job {
    let source: UnsafeRawBufferPointer
    let from: TensorType
    let to: TensorType
    let division: TensorDivision
    /// [experts, columns]; nil: all columns weigh the same.
    let weights: UnsafePointer<Float>?
  }

  /// What was wrong with a number.
  struct Problem {
    let element: Int
    let value: Float
  }

  /// The encoded chunks, each in a slot of its own.
  private let output: AlignedBuffer<UInt8>
  private let slotBytes: Int
  /// For each thread: the numbers, and what the encoded ones are.
  private let numbers: [AlignedBuffer<Float>]
  private let decoded: [AlignedBuffer<Float>]
  /// For each chunk: sums of squares of the differences and of the numbers.
  private let differences: AlignedBuffer<Double>
  private let squares: AlignedBuffer<Double>
  private let kernels = Kernels.current
  private let cancel: CancelFlag

  private(set) var job: Job?
  private(set) var chunks = 0..<0
  /// Chunks that can be worked on at a time.
  let capacity: Int

  /// Bytes that an object of these sizes takes.
  static func memory(threads: Int, capacity: Int, slotBytes: Int) -> Int {
    threads * 2 * chunkElements * 4 + capacity * (slotBytes + 16)
  }

  /// Throws `.outOfMemory`. slotBytes: of the largest encoded chunk.
  init(threads: Int, capacity: Int, slotBytes: Int, cancel: CancelFlag) throws(IVGError) {
    self.capacity = capacity
    self.slotBytes = slotBytes
    self.cancel = cancel
    output = try AlignedBuffer(count: capacity * slotBytes)
    differences = try AlignedBuffer(count: capacity)
    squares = try AlignedBuffer(count: capacity)
    var numbers: [AlignedBuffer<Float>] = []
    var decoded: [AlignedBuffer<Float>] = []
    for _ in 0..<threads {
      numbers.append(try AlignedBuffer(count: Self.chunkElements))
      decoded.append(try AlignedBuffer(count: Self.chunkElements))
    }
    self.numbers = numbers
    self.decoded = decoded
  }

  /// Turns these chunks of a tensor, at most `capacity`, into its new type.
  func run(_ job: Job, chunks: Range<Int>, on team: ThreadTeam) {
    precondition(chunks.count <= capacity)
    self.job = job
    self.chunks = chunks
    team.run(self)
  }

  func run(_ worker: Worker) {
    guard let job else { return }
    while let range = worker.next(of: chunks.count) {
      for place in range {
        if cancel.isRaised { return }
        work(job, place, numbers[worker.index].pointer, decoded[worker.index].pointer)
      }
    }
  }

  private func work(
    _ job: Job, _ place: Int, _ numbers: UnsafeMutablePointer<Float>,
    _ decoded: UnsafeMutablePointer<Float>
  ) {
    let chunk = job.division[chunks.lowerBound + place]
    let source = job.source.baseAddress! + chunk.byteOffset(job.from, job.division.columns)
    kernels.dequantize(job.from)(source, chunk.elements, numbers)
    squares[place] = kernels.table.pointee.sum_of_squares(numbers, chunk.elements)
    differences[place] = 0
    let out = output.pointer + place * slotBytes
    guard job.from != job.to else {
      out.update(
        from: source.assumingMemoryBound(to: UInt8.self), count: chunk.byteCount(job.to))
      return
    }
    // What is infinite, or more than the type holds, is found by `problem`, and what is made of it not used.
    guard squares[place].isFinite else { return }
    let weights = job.weights.map { $0 + chunk.expert * job.division.columns + chunk.firstColumn }
    kernels.quantize(job.to)(numbers, chunk.rowCount, chunk.columnCount, weights, out)
    kernels.dequantize(job.to)(out, chunk.elements, decoded)
    kernels.table.pointee.add_scaled(decoded, numbers, -1, chunk.elements)
    differences[place] = kernels.table.pointee.sum_of_squares(decoded, chunk.elements)
  }

  /// The encoded bytes of each chunk, in order.
  func encoded(_ place: Int) -> UnsafeRawBufferPointer {
    guard let job else { return UnsafeRawBufferPointer(start: nil, count: 0) }
    let chunk = job.division[chunks.lowerBound + place]
    return UnsafeRawBufferPointer(
      start: output.pointer + place * slotBytes, count: chunk.byteCount(job.to))
  }

  /// Sums of squares over the chunks: of what rounding changed, and of the numbers.
  var sums: (differences: Double, squares: Double) {
    (0..<chunks.count).reduce(into: (0.0, 0.0)) { sums, place in
      sums.0 += differences[place]
      sums.1 += squares[place]
    }
  }

  /// The first number of the chunks that is not finite, or that the new type cannot hold.
  func problem() -> Problem? {
    guard let job else { return nil }
    let limit = job.from == job.to ? Float.greatestFiniteMagnitude : job.to.greatestMagnitude
    for place in 0..<chunks.count where !(squares[place] <= Double(limit) * Double(limit)) {
      let chunk = job.division[chunks.lowerBound + place]
      let source = job.source.baseAddress! + chunk.byteOffset(job.from, job.division.columns)
      let numbers = numbers[0]
      kernels.dequantize(job.from)(source, chunk.elements, numbers.pointer)
      for index in 0..<chunk.elements where !(numbers[index].magnitude <= limit) {
        let element = chunk.firstRow * job.division.columns + chunk.firstColumn + index
        return Problem(element: element, value: numbers[index])
      }
    }
    return nil
  }
}

extension TensorType {
  /// The largest number that a matrix of this type may have: scales are halves.
  var greatestMagnitude: Float {
    switch self {
    case .f32: .greatestFiniteMagnitude
    case .bf16: 0x1.FEp127
    default: 65504
    }
  }
}
