import CIVGKernels
import Glibc
import Tensor
import Transformer

/// Final hidden states of examples, computed once by the inference engine - so they are what a head will see
/// when it is used - and kept in a file without a name, in half precision.
///
/// Threads: one at a time.
package final class HiddenStates {
  private let engine: Engine
  private let options: TrainerOptions
  private let size: Int
  private let descriptor: Int32
  private let folder: String
  /// Where each example's rows begin, and how many they are, by key.
  private var places: [Int: (first: Int, count: Int)] = [:]
  private var rowCount = 0
  private var floats: AlignedBuffer<Float>  // [rows, hidden]
  private var halves: AlignedBuffer<UInt16>  // [rows, hidden]

  /// Bytes that it takes, beside the file.
  static func bytes(trunk: Trunk, workers: Int, rows: Int, longest: Int) -> Int {
    let engine = Engine.fixedBytes(
      trunk: trunk, threadCount: workers, contextLength: longest, sequences: rows, logitRows: 0)
    return engine + pages(rows) * Engine.pageBytes(trunk)
      + rows * trunk.configuration.hiddenSize * 6
  }

  /// Pages that the sequences of a micro-batch take together at most.
  private static func pages(_ rows: Int) -> Int { rows / Engine.tokensPerPage + rows / 2 + 1 }

  /// `rows`: tokens of a micro-batch at most.
  ///
  /// Throws `.io` if the file cannot be made in `folder`, `.outOfMemory`.
  init(
    trunk: Trunk, team: ThreadTeam, rows: Int, longest: Int, options: TrainerOptions,
    folder: String
  ) throws(IVGError) {
    engine = try Engine(
      trunk: trunk, team: team, contextLength: longest, pageLimit: Self.pages(rows))
    try engine.reserve(logitRows: 0, results: rows)
    self.options = options
    self.folder = folder
    size = trunk.configuration.hiddenSize
    floats = try AlignedBuffer(count: rows * size)
    halves = try AlignedBuffer(count: rows * size)
    var template = Array("\(folder)/ivg-hidden-states-XXXXXX".utf8CString)
    descriptor = mkstemp(&template)
    guard descriptor >= 0 else {
      throw IVGError(
        .io, "\(folder): cannot make a temporary file: \(String(cString: strerror(errno)))")
    }
    // Programs that the host starts have no business with it.
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    // Its name is not needed, and it goes away with the descriptor whatever happens.
    unlink(template)
  }

  deinit { close(descriptor) }

  /// Computes and keeps the states of a micro-batch. Throws `.cancelled`, `.io`.
  func prepare(_ batch: MicroBatch, cancel: CancelFlag) throws(IVGError) {
    var sequences: [SequenceID] = []
    defer { for sequence in sequences { engine.removeSequence(sequence) } }
    var next = 0
    for rows in batch.packed.sequences {
      let sequence = engine.makeSequence(longest: rows.count)
      sequences.append(sequence)
      for row in rows {
        try engine.append(batch.packed.tokens[row], to: sequence)
        if next < batch.wanted.count, batch.wanted[next] == row {
          engine.wantHidden(floats.pointer + next * size)
          next += 1
        }
      }
    }
    try engine.run(cancel: cancel)
    for index in 0..<next * size {
      halves.pointer[index] = civg_float_to_half(floats.pointer[index])
    }
    try transfer(at: rowCount, count: next, writes: true)
    for (index, example) in batch.examples.enumerated() {
      let spans = batch.spans[index]
      let first = spans.first!.lowerBound
      places[example.key] = (rowCount + first, spans.last!.upperBound - first)
    }
    rowCount += next
  }

  /// The states of examples one after the other: [wanted, hidden], borrowed until the next call.
  /// Throws `.io`.
  func finals(_ keys: [Int]) throws(IVGError) -> UnsafePointer<Float> {
    var next = 0
    for key in keys {
      guard let place = places[key] else {
        throw IVGError(.internal, "hidden states of example \(key) were not computed")
      }
      try transfer(at: place.first, count: place.count, writes: false)
      for index in 0..<place.count * size {
        floats.pointer[next + index] = civg_half_to_float(halves.pointer[index])
      }
      next += place.count * size
    }
    return UnsafePointer(floats.pointer)
  }

  /// Writes, or reads, the first `count` rows of `halves`.
  private func transfer(at row: Int, count: Int, writes: Bool) throws(IVGError) {
    let bytes = size * 2
    var done = 0
    while done < count * bytes {
      let memory = UnsafeMutableRawPointer(halves.pointer) + done
      let place = off_t(row * bytes + done)
      let moved =
        writes
        ? pwrite(descriptor, memory, count * bytes - done, place)
        : pread(descriptor, memory, count * bytes - done, place)
      if moved < 0, errno == EINTR { continue }
      guard moved > 0 else {
        throw IVGError(
          .io,
          "\(folder): cannot \(writes ? "write" : "read") hidden states: "
            + String(cString: strerror(moved < 0 ? errno : EIO)))
      }
      done += moved
    }
  }
}
