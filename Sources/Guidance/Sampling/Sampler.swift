import CIVGKernels
import Glibc
import Tensor

/// Draws a token from logits: temperature, top-k, top-p, min-p, in that order.
///
/// Works on candidates sorted by logit (ties: lower id first), so the result is defined to the bit.
/// Buffers are taken once. Threads: one at a time.
package final class Sampler {
  private let options: SamplingOptions
  private let temperature: Float
  private let random: RandomStream
  private let kernels = Kernels.current
  private let ids: UnsafeMutablePointer<Int32>  // [capacity]
  private let values: UnsafeMutablePointer<Float>  // [capacity]
  private let capacity: Int

  package init(options: SamplingOptions, seed: UInt64, vocabularySize: Int) {
    self.options = options
    temperature = options.temperature ?? 0.7
    random = RandomStream(seed: seed)
    let sorts = options.topP < 1 || options.topK != nil
    capacity = sorts ? min(options.topK ?? vocabularySize, vocabularySize) : 1
    ids = .allocate(capacity: capacity)
    values = .allocate(capacity: capacity)
  }

  deinit {
    ids.deallocate()
    values.deallocate()
  }

  /// Bytes that a sampler takes.
  static func bytes(options: SamplingOptions, vocabularySize: Int) -> Int {
    min(options.topK ?? vocabularySize, vocabularySize) * 8
  }

  /// The token for `row` at `position` from `logits` [count], or nil if every logit is −infinity.
  package func draw(_ logits: UnsafePointer<Float>, count: Int, row: Int, position: Int) -> Int32? {
    if temperature == 0 {
      let best = kernels.table.pointee.argmax(logits, count)
      return logits[best] > -.infinity ? Int32(best) : nil
    }
    let uniform = random.uniform(row: row, position: position)
    if options.topK == nil, options.topP >= 1 {
      return drawUnsorted(logits, count, uniform)
    }
    let found = kernels.table.pointee.top_k(logits, count, min(capacity, count), ids, values)
    return found == 0 ? nil : drawSorted(found, uniform)
  }

  /// exp((logit − largest) / temperature)
  private func weight(_ logit: Float, _ largest: Float) -> Double {
    exp(Double(logit - largest) / Double(temperature))
  }

  private func drawSorted(_ found: Int, _ uniform: Double) -> Int32 {
    var count = found
    let largest = values[0]
    if options.topP < 1 {
      var total = 0.0
      for index in 0..<count { total += weight(values[index], largest) }
      var mass = 0.0
      for index in 0..<count {
        mass += weight(values[index], largest)
        if mass >= Double(options.topP) * total {
          count = index + 1
          break
        }
      }
    }
    if options.minP > 0 {
      while count > 1, weight(values[count - 1], largest) < Double(options.minP) { count -= 1 }
    }
    var total = 0.0
    for index in 0..<count { total += weight(values[index], largest) }
    var mass = 0.0
    for index in 0..<count {
      mass += weight(values[index], largest)
      if mass > uniform * total { return ids[index] }
    }
    return ids[count - 1]
  }

  private func drawUnsorted(_ logits: UnsafePointer<Float>, _ count: Int, _ uniform: Double)
    -> Int32?
  {
    let largest = logits[kernels.table.pointee.argmax(logits, count)]
    guard largest > -.infinity else { return nil }
    let least = Double(options.minP)
    var total = 0.0
    for index in 0..<count {
      let mass = weight(logits[index], largest)
      if mass >= least { total += mass }
    }
    var mass = 0.0
    var last: Int32 = 0
    for index in 0..<count {
      let own = weight(logits[index], largest)
      guard own >= least, own > 0 else { continue }
      last = Int32(index)
      mass += own
      if mass > uniform * total { return last }
    }
    return last
  }
}
