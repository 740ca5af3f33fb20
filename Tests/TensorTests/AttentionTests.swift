import CIVGKernels
import Tensor
import TestSupport
import Testing

/// Attention over paged keys and values.
@Suite struct AttentionTests {
  /// A sequence in pages of a pool, and queries. Row r attends to the tokens first + r ... length - 1 - r.
  struct Scene {
    var heads: Int, dimensions: Int, first: Int, length: Int, softcap: Float
    var rowCount = 1
    var shared = 0..<0
    let isWide: Bool
    var queries: [Float], keys: [[Float]], values: [[Float]]

    init(
      heads: Int, dimensions: Int, first: Int, length: Int, softcap: Float = 0, seed: UInt64 = 12,
      isWide: Bool = false
    ) {
      var random = RandomNumbers(seed: seed)
      (self.heads, self.dimensions, self.first, self.length) = (heads, dimensions, first, length)
      self.softcap = softcap
      queries = random.floats(heads * dimensions * 5)
      self.isWide = isWide
      func half(_ x: [Float]) -> [Float] { isWide ? x : x.map { Float(Float16($0)) } }
      keys = (0..<length).map { _ in half(random.floats(dimensions, scale: 2)) }
      values = (0..<length).map { _ in half(random.floats(dimensions)) }
    }

    /// Runs a table. Unused slots of the pool hold NaN; pages lie in the order of `place`.
    func attend(_ kernels: Kernels, place: (Int) -> Int32 = { Int32($0) }) -> [Float] {
      let table = kernels.table.pointee
      let part = dimensions * 16 * (isWide ? 4 : 2)
      let pageBytes = 2 * part + 64
      let pages = (length + 15) / 16
      var pool = [UInt8](repeating: 0xff, count: pageBytes * (pages + 3))
      let ids = (0..<pages).map(place)
      let scores = try! AlignedBuffer<Float>(count: rowCount * heads * pages * 16)
      for i in 0..<scores.count { scores.pointer[i] = .nan }
      var out = [Float](repeating: .nan, count: rowCount * heads * dimensions)
      pool.withUnsafeMutableBytes { pool in
        for t in 0..<length {
          let page = pool.baseAddress! + Int(ids[t / 16]) * pageBytes
          table.store_key_value(
            keys[t], values[t], dimensions, t % 16, isWide ? 1 : 0, page + 32, page + 64 + part)
        }
        queries.withUnsafeBufferPointer { q in
          ids.withUnsafeBufferPointer { ids in
            out.withUnsafeMutableBufferPointer { out in
              let width = heads * dimensions
              let rows = (0..<rowCount).map { r in
                civg_attending(
                  q: q.baseAddress! + r * width, out: out.baseAddress! + r * width,
                  page_ids: ids.baseAddress, first: first + r, length: length - r)
              }
              var a = civg_attention(
                rows: nil, row_count: rowCount, shared_from: shared.lowerBound,
                shared_to: shared.upperBound,
                pool: UnsafePointer(pool.baseAddress!.assumingMemoryBound(to: UInt8.self)),
                page_bytes: pageBytes, k_offset: 32, v_offset: 64 + part, heads: heads,
                head_dim: dimensions, scale: 0.2, softcap: softcap,
                wide: isWide ? 1 : 0, scores: scores.pointer)
              rows.withUnsafeBufferPointer {
                a.rows = $0.baseAddress
                table.attend(&a)
              }
            }
          }
        }
      }
      return out
    }

    /// The same in double precision.
    var expected: [Double] {
      (0..<heads).flatMap { h in
        ReferenceKernels.attend(
          query: queries[(h * dimensions)..<((h + 1) * dimensions)].map { Double($0) },
          keys: keys[first...].map { $0.map { Double($0) } },
          values: values[first...].map { $0.map { Double($0) } }, scale: Double(Float(0.2)),
          softcap: Double(softcap))
      }
    }
  }

  @Test(
    arguments: [1, 2, 3, 5, 8, 14],
    [(2, 0, 1), (64, 0, 16), (64, 7, 45), (80, 31, 100), (34, 16, 33)])
  func agreesWithDoublePrecision(_ heads: Int, _ shape: (Int, Int, Int)) {
    for (softcap, isWide) in [(0, false), (2, false), (0, true), (2, true)] as [(Float, Bool)] {
      let scene = Scene(
        heads: heads, dimensions: shape.0, first: shape.1, length: shape.2, softcap: softcap,
        isWide: isWide)
      let expected = scene.expected
      var first: [UInt32]?
      for kernels in Kernels.available {
        let out = scene.attend(kernels)
        #expect(bits(out) == first ?? bits(out), "\(kernels.name)")
        first = bits(out)
        for (value, exact) in zip(out, expected) { #expect(abs(Double(value) - exact) < 3e-6) }
      }
    }
  }

  @Test func dependsOnTheSequenceAlone() {
    let scene = Scene(heads: 6, dimensions: 64, first: 0, length: 70)
    for kernels in Kernels.available {
      let plain = scene.attend(kernels)
      #expect(plain == scene.attend(kernels, place: { Int32(7 - $0) }))
      // One head alone gives what it gives among others.
      var alone = scene
      alone.heads = 1
      alone.queries = Array(scene.queries[(4 * 64)..<(5 * 64)])
      #expect(alone.attend(kernels) == Array(plain[(4 * 64)..<(5 * 64)]))
    }
  }

  @Test(arguments: [1, 3, 4, 7], [(0, 70, 1..<4), (20, 100, 2..<6), (3, 40, 0..<0)])
  func rowsTogetherAreRowsAlone(_ heads: Int, _ shape: (Int, Int, Range<Int>)) {
    for (kernels, isWide) in Kernels.available.flatMap({ [($0, false), ($0, true)] }) {
      var scene = Scene(
        heads: heads, dimensions: 64, first: shape.0, length: shape.1, isWide: isWide)
      let width = heads * 64
      scene.rowCount = 5
      let apart = scene.attend(kernels)
      scene.shared = shape.2
      #expect(scene.attend(kernels) == apart)
      scene.rowCount = 1
      scene.shared = 0..<0
      for row in 0..<5 {
        #expect(scene.attend(kernels) == Array(apart[(row * width)..<((row + 1) * width)]))
        scene.queries.removeFirst(width)
        scene.first += 1
        scene.length -= 1
      }
    }
  }

  @Test func anEmptySequenceGivesZero() {
    for kernels in Kernels.available {
      let scene = Scene(heads: 2, dimensions: 16, first: 3, length: 3)
      #expect(scene.attend(kernels).allSatisfy { $0 == 0 })
    }
  }
}
