/// Selection: the best W over all rows, ties to the lowest row, best first.
extension Search {
  func select() {
    var order: [Int] = []
    order.reserveCapacity(request.rowCount)
    for slot in 0..<request.rowCount where rows[slot].state != .empty { order.append(slot) }
    // Insertion keeps equal scores in the order of rows.
    for index in order.indices.dropFirst() {
      var place = index
      while place > 0, rows[order[place]].score > rows[order[place - 1]].score {
        order.swapAt(place, place - 1)
        place -= 1
      }
    }
    keptCount = 0
    for slot in order where keptCount < request.search.width {
      if request.search.dedupe, isKept(rows[slot]) { continue }
      let target = request.rowCount + keptCount
      rows[target].copy(from: rows[slot])
      for track in tracks { track.copy(slot, to: target) }
      keptCount += 1
    }
    for slot in 0..<request.rowCount {
      for track in tracks { track.release(slot) }
    }
    left = request.search.chunk ?? Int.max
    isContracted = true
  }

  /// Whether a kept row has the same text and is as finished.
  private func isKept(_ row: Row) -> Bool {
    rows[request.rowCount..<request.rowCount + keptCount].contains {
      $0.state == row.state && $0.visible == row.visible
    }
  }
}
