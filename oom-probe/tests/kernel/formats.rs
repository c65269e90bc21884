use super::recorded::{KERNELS, format};

#[test]
fn the_pid_is_where_each_kernel_puts_it() {
    for kernel in KERNELS {
        let shifted = if kernel == "6.1-rt" { 12 } else { 8 };
        let mark = format(kernel, "mark_victim");
        assert_eq!(mark.name, "mark_victim", "{kernel}");
        assert_eq!(mark.offset("pid", 4), Some(shifted), "{kernel}");
        assert!(mark.field("pid").unwrap().signed, "{kernel}");
    }
}

#[test]
fn the_form_that_hands_over_the_task_also_prints_its_name() {
    for kernel in KERNELS {
        let mark = format(kernel, "mark_victim");
        assert_eq!(mark.field("comm").is_some(), kernel != "5.10", "{kernel}");
        assert_eq!(
            mark.field("total_vm").is_some(),
            kernel != "5.10",
            "{kernel}"
        );
    }
}

#[test]
fn common_fields_come_first_and_no_two_fields_overlap() {
    for kernel in KERNELS {
        for tracepoint in ["mark_victim", "signal_generate"] {
            let fields = format(kernel, tracepoint).fields;
            assert!(fields[0].name.starts_with("common_"), "{kernel}");
            for pair in fields.windows(2) {
                let end = pair[0].offset + pair[0].size;
                assert!(
                    end <= pair[1].offset,
                    "{} of {tracepoint} in {kernel}",
                    pair[1].name
                );
            }
        }
    }
}

#[test]
fn an_array_has_the_size_of_all_its_elements() {
    for kernel in KERNELS {
        let comm = format(kernel, "signal_generate")
            .field("comm")
            .unwrap()
            .size;
        assert_eq!(comm, 16, "{kernel}");
    }
}
