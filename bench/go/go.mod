module jackfield/bench

go 1.19
