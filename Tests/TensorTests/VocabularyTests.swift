import CIVGKernels
import Glibc
import Tensor
import TestSupport
import Testing

/// The best, the k best and the logarithmic sum of many scores.
@Suite struct VocabularyTests {
  /// Rows with ties, with values that do not count, and long ones.
  static var rows: [[Float]] {
    var random = RandomNumbers(seed: 11)
    var rows = [1, 5, 16, 17, 100, 1000, 32_003].map { random.floats($0, scale: 10) }
    rows.append((0..<333).map { _ in (random.float(3)).rounded() })
    rows.append([.nan, -.infinity, 1, .nan, 1, -.infinity, 0.5])
    rows.append([.nan, -.infinity])
    rows.append([.nan, .nan, .nan])
    rows.append((0..<77).map { Float($0) })
    rows.append((0..<77).map { Float(-$0) })
    return rows
  }

  @Test func best() {
    for x in Self.rows {
      var expected = 0
      for i in x.indices where x[i] > x[expected] || x[expected].isNaN && !x[i].isNaN {
        expected = i
      }
      for kernels in Kernels.available {
        #expect(kernels.table.pointee.argmax(x, x.count) == expected)
      }
    }
  }

  @Test func kBest() {
    for x in Self.rows {
      let order = x.indices.filter { x[$0] > -.infinity }.sorted {
        x[$0] > x[$1] || x[$0] == x[$1] && $0 < $1
      }
      for k in [0, 1, 2, 7, 40, x.count] where k <= x.count {
        for kernels in Kernels.available {
          var ids = [Int32](repeating: -1, count: k + 1)
          var values = [Float](repeating: 0, count: k + 1)
          let found = kernels.table.pointee.top_k(x, x.count, k, &ids, &values)
          #expect(found == min(k, order.count))
          #expect(ids.prefix(found).map { Int($0) } == Array(order.prefix(found)))
          #expect(values.prefix(found).elementsEqual(order.prefix(found).map { x[$0] }))
        }
      }
    }
  }

  @Test func logarithmicSum() {
    for x in Self.rows {
      let clean = !x.contains { $0.isNaN }
      let top = Double(x.max() ?? 0)
      let expected = top + log(x.reduce(0.0) { $0 + exp(Double($1) - top) })
      var first: UInt64?
      for kernels in Kernels.available {
        let sum = kernels.table.pointee.log_sum_exp(x, x.count)
        if clean {
          #expect(abs(sum - expected) < 3e-7)
          #expect(sum.bitPattern == first ?? sum.bitPattern)
          first = sum.bitPattern
        } else {
          #expect(sum.isNaN)
        }
        #expect(kernels.table.pointee.is_clean(x, x.count) == (clean ? 1 : 0))
      }
    }
    let least = -Float.infinity
    for kernels in Kernels.available {
      let table = kernels.table.pointee
      #expect(table.log_sum_exp([least, least, least], 3) == -.infinity)
      #expect(table.log_sum_exp([least, 2, least], 3) == 2)
      #expect(table.is_clean([least, 2, .infinity], 3) == 0)
      #expect(table.is_clean([least, 2, 0], 3) == 1)
    }
  }
}
